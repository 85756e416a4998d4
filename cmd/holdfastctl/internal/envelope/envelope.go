// Package envelope makes the commands an operator sends, and reads what a device answers.
package envelope

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// An Envelope is one command as it is published.
type Envelope struct {
	ID      string         `json:"id"`
	Issuer  string         `json:"issuer"`
	Seq     uint64         `json:"seq"`     // counts per issuer and device, from 1
	Expires time.Time      `json:"expires"` // the device does not begin it later
	Name    string         `json:"name"`
	Args    map[string]any `json:"args"`
}

// New returns the command with a random id. now plus life is when it expires, to the second.
func New(issuer string, seq uint64, name string, args map[string]any, now time.Time, life time.Duration) Envelope {
	return Envelope{ID: rand.Text(), Issuer: issuer, Seq: seq, Expires: now.Add(life).UTC().Truncate(time.Second), Name: name, Args: args}
}

// A Result is a device's answer.
type Result struct {
	ID     string          `json:"id"`
	OK     bool            `json:"ok"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
}

const resultBytes = 1 << 20

// ParseResult reads an answer.
func ParseResult(b []byte) (Result, error) {
	var r Result
	if len(b) > resultBytes {
		return r, fmt.Errorf("answer has %d bytes, more than %d", len(b), resultBytes)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("answer: %w", err)
	}
	if r.ID == "" {
		return r, errors.New("answer: no id")
	}
	return r, nil
}
