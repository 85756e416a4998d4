package rules

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"holdfast/board/strict"
	"holdfast/remediate/epl"
	"holdfast/remediate/epl/cases"
)

// MaxLine bounds a line of events, in bytes.
const MaxLine = 1 << 20

// An Event is a line of a file of events: {"type": "DeviceStatus", "time": 1000, "values": {"cpuUtilization": 95.5}}. The time
// is in milliseconds, or of RFC 3339. A line without a type only moves the time.
type Event struct {
	Line   int
	Millis int64
	Wall   bool // the time was of RFC 3339
	Type   string
	Values map[string]any
}

// A Reader reads events one at a time.
type Reader struct {
	name string
	s    *bufio.Scanner
	line int
}

// NewReader reads what is called name in errors.
func NewReader(name string, r io.Reader) *Reader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), MaxLine)
	return &Reader{name: name, s: s}
}

// Next returns the next event, and io.EOF behind the last. Empty lines are passed over.
func (r *Reader) Next() (e Event, err error) {
	for r.s.Scan() {
		if r.line++; strings.TrimSpace(r.s.Text()) == "" {
			continue
		}
		if e, err = parseEvent(r.s.Bytes()); err != nil {
			var place *strict.Error
			if errors.As(err, &place) && place.Column > 0 {
				return e, fmt.Errorf("%s:%d:%d: %s", r.name, r.line, place.Column, place.Problem)
			}
			return e, fmt.Errorf("%s:%d: %w", r.name, r.line, err)
		}
		e.Line = r.line
		return e, nil
	}
	switch err := r.s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return e, fmt.Errorf("%s:%d: a line of more than %d KiB", r.name, r.line+1, MaxLine>>10)
	case err != nil:
		return e, fmt.Errorf("%s: %w", r.name, err)
	}
	return e, io.EOF
}

func parseEvent(line []byte) (e Event, err error) {
	var read struct {
		Type   string                     `json:"type"`
		Time   json.RawMessage            `json:"time"`
		Values map[string]json.RawMessage `json:"values"`
	}
	if err := strict.Unmarshal(line, &read, strict.Limits{Bytes: MaxLine, Members: 10_000}); err != nil {
		return e, err
	}
	e.Type, e.Values = read.Type, make(map[string]any, len(read.Values))
	if e.Millis, e.Wall, err = parseTime(read.Time); err != nil {
		return e, err
	}
	for name, raw := range read.Values {
		var v any = json.Number(raw)
		if c := raw[0]; c != '-' && (c < '0' || c > '9') {
			if err := json.Unmarshal(raw, &v); err != nil {
				return e, fmt.Errorf("values.%s: %w", name, err)
			}
		}
		e.Values[name] = v
	}
	return e, nil
}

// mostMillis is the end of the year 9999.
const mostMillis = 253402300799999

func parseTime(raw json.RawMessage) (millis int64, wall bool, err error) {
	if len(raw) == 0 {
		return 0, false, errors.New(`there is no "time": it is in milliseconds, or of RFC 3339`)
	}
	if raw[0] == '"' {
		t, err := time.Parse(`"`+time.RFC3339+`"`, string(raw))
		if err != nil || t.UnixMilli() < 0 || t.UnixMilli() > mostMillis {
			return 0, false, fmt.Errorf("time: %.60s is not of RFC 3339, from 1970 on", raw)
		}
		return t.UnixMilli(), true, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f < 0 || f > mostMillis || f != float64(int64(f)) {
		return 0, false, fmt.Errorf("time: %.60s is no number of milliseconds from 0 on", raw)
	}
	return int64(f), false, nil
}

// send gives an event to an engine.
func send(e *epl.Engine, ev Event) error {
	t, ok := e.Type(ev.Type)
	if !ok {
		var names []string
		for _, t := range e.Types {
			names = append(names, t.Name)
		}
		if near := strict.Nearest(ev.Type, names); near != "" {
			return fmt.Errorf("there is no event type %.60q; did you mean %s?", ev.Type, near)
		}
		return fmt.Errorf("there is no event type %.60q", ev.Type)
	}
	vals, err := cases.Values(t, ev.Values)
	if err != nil {
		return err
	}
	_, err = e.Send(t, vals)
	return err
}
