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
)

// A Verb is one kind of deed. Do must be idempotent where it can: a deed that was cut short may be done over.
type Verb struct {
	Name        string // "unit.restart"
	Help        string // one line
	Params      []Param
	Destructive bool // interrupts the machine's work: needs a trusted clock or an unbroken sequence, and is never done twice
	Do          func(ctx context.Context, args Args) (Result, error)
}

// A Param is one typed argument.
type Param struct {
	Name     string
	Kind     Kind
	Required bool
	Choices  []string // for Text: the only values, when there are any
	Min, Max float64  // for Number: the bounds; for Text: Max is the most bytes (256 when 0)
	Help     string
}

// A Kind is an argument's type.
type Kind string

// The kinds of arguments, as JSON spells their values.
const (
	Text   Kind = "text"
	Number Kind = "number"
	Truth  Kind = "truth"
)

// Args are checked arguments: string, float64 or bool by Param.Kind. A parameter that was not given is absent.
type Args map[string]any

// A Result is what a deed has to say, small enough for one message; nil for nothing.
type Result map[string]any
