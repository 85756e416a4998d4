// Package actuators is a noun: everything the agent may do, by name: allow-listed, rate-limited, audited.
//
// A Verb comes from a driver below (actuators/relay, actuators/unit, actuators/power, actuators/script) or is a closure
// that asks a process with more power to do it; a Set is what may be done on this board.
package actuators

import (
	"context"
	"errors"
)

// Errors a caller branches on.
var (
	ErrUnknown = errors.New("no such verb")              // not in the set
	ErrDenied  = errors.New("not allowed on this board") // in the program, but not in the allow-list
	ErrLimited = errors.New("limit reached")             // the limiter said no; try again later
	ErrInvalid = errors.New("wrong arguments")           // an argument is unknown, missing, mistyped or out of range
	ErrLocked  = errors.New("interlock holds")           // the device's own protection said no; try again later
)

// A Verb is one kind of deed. Do must be idempotent where it can: a deed that was cut short may be done over.
type Verb struct {
	Name   string  `json:"name"` // "unit.restart": 1 to 64 of [a-z0-9._-]
	Help   string  `json:"help"` // one line
	Params []Param `json:"params,omitempty"`
	// Destructive verbs interrupt the machine's work: they need a trusted clock or an unbroken sequence, and are never
	// done twice.
	Destructive bool `json:"destructive,omitempty"`
	// Class is what a Limiter counts the deed as: Reboot, Repair, or empty for what needs no limit.
	Class string `json:"class,omitempty"`
	// Aside verbs may be done beside others: they look after their own turns, take long, and have no class.
	Aside bool `json:"aside,omitempty"`
	// Do does the deed. A result may come with an error: what a script printed before it stopped.
	Do func(ctx context.Context, args Args) (Result, error) `json:"-"`
}

// Classes of deeds that are counted together.
const (
	Reboot = "reboot" // takes the whole machine away for a while
	Repair = "repair" // takes a service away, or runs somebody's script
)

// A Param is one typed argument.
type Param struct {
	Name     string   `json:"name"`
	Kind     Kind     `json:"kind"`
	Required bool     `json:"required,omitempty"`
	Choices  []string `json:"choices,omitempty"` // for Text, and each text of a List: the only values, when there are any
	// Min and Max are a Number's bounds, none when both are 0. For Text, and each text of a List, Max is the most bytes
	// (256 when 0).
	Min  float64 `json:"min,omitempty"`
	Max  float64 `json:"max,omitempty"`
	Most int     `json:"most,omitempty"` // for List: the most texts (16 when 0)
	Help string  `json:"help,omitempty"`
}

// A Kind is an argument's type.
type Kind string

// The kinds of arguments, as JSON spells their values.
const (
	Text   Kind = "text"
	Number Kind = "number"
	Truth  Kind = "truth"
	List   Kind = "list" // of texts
)

// Args are checked arguments: string, float64, bool or []string by Param.Kind. A parameter that was not given is absent.
type Args map[string]any

// Text returns the named text, empty when it was not given.
func (a Args) Text(name string) string { s, _ := a[name].(string); return s }

// Number returns the named number, 0 when it was not given.
func (a Args) Number(name string) float64 { f, _ := a[name].(float64); return f }

// Truth returns the named truth, false when it was not given.
func (a Args) Truth(name string) bool { b, _ := a[name].(bool); return b }

// List returns the named texts, nil when they were not given.
func (a Args) List(name string) []string { l, _ := a[name].([]string); return l }

// A Result is what a deed has to say, small enough for one message; nil for nothing.
type Result map[string]any
