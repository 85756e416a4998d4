package link

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	root        = "holdfast"       // first level of our own topics
	payloadCap  = 64 << 10         // our largest publication: brokers and slow links choke on more
	keepAlive   = 60 * time.Second // finds a dead link in a minute and a quarter at a cost of 2 bytes a minute
	shortestKA  = 30 * time.Second
	longestKA   = 20 * time.Minute
	topicBytes  = 256 // AWS IoT's bound; MQTT's own is 65,535
	rootBytes   = 128 // longest root
	deviceBytes = 64  // longest device id
)

// checkName tells whether s may be one level of a topic: 1 to limitBytes of letters, digits and extra. Wildcards, NUL
// and separators are never extra, so that an id cannot reach into another device's topics (MQTT 3.1.1, 4.7).
func checkName(what, s string, limitBytes int, extra string) error {
	if s == "" || len(s) > limitBytes {
		return fmt.Errorf("%s has %d bytes, between 1 and %d are allowed", what, len(s), limitBytes)
	}
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(extra, r):
		default:
			return fmt.Errorf("%s %q contains %q, allowed are letters, digits and %s", what, s, r, extra)
		}
	}
	return nil
}

// checkRoot tells whether s may stand before every topic: levels as in checkName, separated by slashes.
func checkRoot(s string) error {
	if len(s) > rootBytes {
		return fmt.Errorf("root has %d bytes, more than %d", len(s), rootBytes)
	}
	for level := range strings.SplitSeq(s, "/") {
		if err := checkName("root level", level, rootBytes, "_.-"); err != nil {
			return err
		}
	}
	return nil
}

// clampKeepAlive returns d within what brokers accept, the default for 0.
func clampKeepAlive(d time.Duration) time.Duration {
	if d == 0 {
		d = keepAlive
	}
	return min(max(d, shortestKA), longestKA)
}

// checkMessage refuses what no dialect wants to look at.
func checkMessage(m Message, limitBytes int) error {
	if len(m.Topic) > topicBytes {
		return fmt.Errorf("topic of %d bytes, more than %d", len(m.Topic), topicBytes)
	}
	if len(m.Payload) > limitBytes {
		return fmt.Errorf("%s: %d bytes, more than the %d allowed", m.Topic, len(m.Payload), limitBytes)
	}
	return nil
}

// command returns the envelope of a command. One that the broker retained is refused: it would be obeyed again at every
// connect.
func command(m Message) (Inbound, error) {
	if m.Retain {
		return Inbound{}, fmt.Errorf("%s: a retained command is not obeyed", m.Topic)
	}
	if len(m.Payload) == 0 {
		return Inbound{}, fmt.Errorf("%s: empty command", m.Topic)
	}
	return Inbound{Command: m.Payload}, nil
}

// body writes a struct of ours. A raw message within that is no JSON is an error.
func body(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// plain returns the part of the topic and the payload of everything but a report of state, which dialects put in
// different words. The part is empty for a report of state.
func (o Outbound) plain() (part string, payload []byte, err error) {
	fields := 0
	for _, body := range []struct {
		part  string
		bytes []byte
	}{
		{"telemetry", o.Telemetry}, {"event", o.Event}, {"command/result", o.Result}, {"job/status", o.JobStatus},
	} {
		if body.bytes != nil {
			fields++
			part, payload = body.part, body.bytes
		}
	}
	if o.Status != nil {
		fields++
		part = "status"
		if payload, err = body(o.Status); err != nil {
			return "", nil, fmt.Errorf("status: %w", err)
		}
	}
	if o.Reported != nil {
		fields++
		part, payload = "", nil
	}
	if fields != 1 {
		return "", nil, fmt.Errorf("outbound has %d fields set, want 1", fields)
	}
	if part != "" && len(payload) == 0 {
		return "", nil, errors.New(part + ": empty body")
	}
	return part, payload, nil
}
