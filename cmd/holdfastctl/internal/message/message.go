// Package message reads what devices publish in the plain MQTT dialect, as far as an operator's tool needs it.
package message

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"holdfast/cmd/holdfastctl/internal/ledger"
)

// maxBytes bounds a payload that is looked into; agents keep theirs below 64 KiB.
const maxBytes = 1 << 20

// Split takes a topic apart: holdfast/<device>/<kind>, where kind may have two levels, as in "command/result".
func Split(topic string) (device, kind string, ok bool) {
	rest, ok := strings.CutPrefix(topic, "holdfast/")
	if !ok {
		return "", "", false
	}
	device, kind, ok = strings.Cut(rest, "/")
	return device, kind, ok && device != "" && kind != ""
}

// A Status says whether a device is there.
type Status struct {
	Online bool      `json:"online"`
	Since  time.Time `json:"since,omitzero"`
	Agent  string    `json:"agent,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Telemetry is one record of samples.
type Telemetry struct {
	Session string   `json:"session"`
	Seq     uint64   `json:"seq"`
	Samples []Sample `json:"samples"`
}

// A Sample is what one source said.
type Sample struct {
	Source   string         `json:"source"`
	Instance string         `json:"instance,omitempty"`
	Time     time.Time      `json:"time"`
	Trusted  bool           `json:"trusted"`
	Fields   map[string]any `json:"fields"`
}

// Number returns the named field where it is a finite number.
func (s *Sample) Number(name string) (float64, bool) {
	f, ok := s.Fields[name].(float64)
	return f, ok
}

// An Event is one record of another kind: an alert, a gap, a repair.
type Event struct {
	Session string
	Seq     uint64
	Kind    string
	Body    map[string]any // everything, the head included
}

// Decode reads a payload into v, bounded.
func Decode(payload []byte, v any) error {
	if len(payload) > maxBytes {
		return fmt.Errorf("payload has %d bytes, more than %d", len(payload), maxBytes)
	}
	return json.Unmarshal(payload, v)
}

// ParseEvent reads an event.
func ParseEvent(payload []byte) (Event, error) {
	var head struct {
		Session string `json:"session"`
		Seq     uint64 `json:"seq"`
		Kind    string `json:"kind"`
	}
	e := Event{}
	if err := Decode(payload, &head); err != nil {
		return e, err
	}
	if err := Decode(payload, &e.Body); err != nil {
		return e, err
	}
	e.Session, e.Seq, e.Kind = head.Session, head.Seq, head.Kind
	return e, nil
}

// Count enters a telemetry or event record of a device in the ledger. fresh is false for a duplicate; records without
// a session, and other kinds of message, are fresh and not entered.
func Count(l *ledger.Ledger, device, kind string, payload []byte) (fresh bool, err error) {
	if kind != "telemetry" && kind != "event" {
		return true, nil
	}
	var head struct {
		Session string  `json:"session"`
		Seq     *uint64 `json:"seq"`
		Kind    string  `json:"kind"`
		Of      struct {
			Session string `json:"session"`
			From    uint64 `json:"from"`
			To      uint64 `json:"to"`
		} `json:"of"`
	}
	if err := Decode(payload, &head); err != nil || head.Session == "" || head.Seq == nil {
		return true, err
	}
	fresh, err = l.Add(ledger.Key{Device: device, Session: head.Session}, *head.Seq)
	if fresh && err == nil && kind == "event" && head.Kind == "gap" && head.Of.Session != "" {
		err = l.Declare(ledger.Key{Device: device, Session: head.Of.Session}, ledger.Range{First: head.Of.From, Last: head.Of.To})
	}
	return fresh, err
}

// Clean makes text from a device fit for a terminal: one line, no control characters, at most limit runes.
func Clean(text string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n == limit {
			b.WriteRune('…')
			break
		}
		if !unicode.IsPrint(r) {
			r = '·'
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
