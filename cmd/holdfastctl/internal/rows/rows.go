// Package rows makes of telemetry the rows that a device judges itself by: one for each round of its collectors, with the
// properties of DeviceStatus, in the CSV that models are trained on (docs/models.md).
//
// Telemetry carries samples and not rounds. A round is over when nine tenths of the period are, or when a source speaks again: all
// that came before is what the device knew then. Telemetry has fractions with six digits, so a row differs from the device's own
// by some millionths at most. What the device knows and never sends is whether it had a link: there is no column for that.
package rows

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/collectors"
	"holdfast/remediate"
	"holdfast/remediate/epl"
)

// ErrDigest means that the device sends summaries, of which no row can be made.
var ErrDigest = errors.New("the device sends digests and not readings")

// unsaid are the properties that telemetry does not have.
var unsaid = []string{"linkUp"}

// normal is the label of rows without a fault.
const normal = "normal"

// farFromAny is what since is where no fault is near, or nobody says when it began: far enough for every row to count.
const farFromAny = 100

// A Writer writes rows of any number of devices. It belongs to one goroutine.
type Writer struct {
	csv     *csv.Writer
	period  time.Duration
	names   []string // of DeviceStatus, in its order
	devices map[string]*device
	spans   []span // of labels, in the order of time
	faults  int
	rep     int
	Rows    int // that were written
	Late    int // samples from before a row that was written already, which are left out
}

// A span is what was wrong from a time on.
type span struct {
	from  time.Time
	label string
	fault int // counts faults; -1 for normal
	rep   int
}

// New writes the line of names. The devices' collectors are read at the period.
func New(out io.Writer, period time.Duration) (*Writer, error) {
	w := &Writer{csv: csv.NewWriter(out), period: period, names: remediate.StatusNames(), devices: map[string]*device{}}
	head := []string{"dev", "t", "label", "fault_no", "rep", "since"}
	for _, n := range w.names {
		if !slices.Contains(unsaid, n) {
			head = append(head, n)
		}
	}
	return w, w.flush(head)
}

func (w *Writer) flush(record []string) error {
	if err := w.csv.Write(record); err != nil {
		return err
	}
	w.csv.Flush()
	return w.csv.Error()
}

// Label says what is wrong from a time on. Times do not decrease.
func (w *Writer) Label(at time.Time, label string) {
	s := span{from: at, label: label, fault: -1, rep: w.rep}
	if label != normal {
		s.fault = w.faults
		w.faults++
	}
	w.spans = append(w.spans, s)
}

// Repetition says which repetition the labels from now on belong to.
func (w *Writer) Repetition(n int) { w.rep = n }

// label returns what was wrong at a time, and for how long it had been, or how long the last fault was over.
func (w *Writer) label(at time.Time) (s span, since float64) {
	s, since = span{label: normal, fault: -1}, farFromAny
	for _, next := range w.spans {
		if next.from.After(at) {
			break
		}
		if next.label == normal && s.label == normal { // it was so before
			s.rep = next.rep
		} else if s = next; s.from.IsZero() { // all of the recording
			since = farFromAny
		} else {
			since = 0
		}
	}
	if since == 0 {
		since = at.Sub(s.from).Seconds()
	}
	return s, since
}

// A device is one that is heard, since its agent started.
type device struct {
	session string
	feed    *remediate.Feed
	began   time.Time // of all rows
	round   map[[2]string]bool
	first   time.Time         // of the round
	last    collectors.Sample // the latest of it
	written time.Time         // of the last row
	values  []epl.Value
}

// Take takes a record of telemetry.
func (w *Writer) Take(id string, t *message.Telemetry) error {
	d := w.devices[id]
	if d == nil || d.session != t.Session {
		next := &device{session: t.Session, round: map[[2]string]bool{}}
		if d != nil {
			if err := w.end(id, d); err != nil {
				return err
			}
			next.began, next.written = d.began, d.written
		}
		next.feed = remediate.NewFeed(remediate.Catalogue(), remediate.FeedOptions{Device: id, CapacityBits: 100e6,
			Send: func(t *epl.Type, vals []epl.Value) {
				if t.Name == "DeviceStatus" {
					next.values = vals
				}
			}})
		d = next
		w.devices[id] = d
	}
	for i := range t.Samples {
		if err := w.sample(id, d, &t.Samples[i]); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	return nil
}

func (w *Writer) sample(id string, d *device, m *message.Sample) error {
	s, err := reading(m)
	if err != nil {
		return err
	}
	if !s.Time.After(d.written) {
		w.Late++
		return nil
	}
	key := [2]string{s.Source, s.Instance}
	if d.round[key] || len(d.round) > 0 && s.Time.Sub(d.first) >= w.period-w.period/10 {
		if err := w.end(id, d); err != nil {
			return err
		}
	}
	if s.Source != "log" && s.Source != "collector" && s.Source != "gpio_edge" { // these speak when they like
		if len(d.round) == 0 {
			d.first = s.Time
		}
		d.round[key] = true
	}
	d.feed.Sample(&s)
	if s.Time.After(d.last.Time) {
		d.last = s
	}
	return nil
}

// reading makes a sample of what telemetry says of it.
func reading(m *message.Sample) (collectors.Sample, error) {
	s := collectors.Sample{Source: m.Source, Instance: m.Instance, Time: m.Time, Trusted: m.Trusted}
	for name, v := range m.Fields {
		f := collectors.Field{Name: name}
		switch v := v.(type) {
		case float64:
			f.Value = collectors.Number(v)
		case bool:
			f.Value = collectors.Bool(v)
		case string:
			f.Value = collectors.Text(v)
		default:
			continue // null is a number that was none
		}
		if name == "window_seconds" {
			return s, fmt.Errorf("%w: set telemetry.digest = \"0s\"", ErrDigest)
		}
		s.Fields = append(s.Fields, f)
	}
	return s, nil
}

// Close writes the rounds that are under way.
func (w *Writer) Close() error {
	var errs []error
	for id, d := range w.devices {
		errs = append(errs, w.end(id, d))
	}
	return errors.Join(errs...)
}

// end writes the row of a round.
func (w *Writer) end(id string, d *device) error {
	if len(d.round) == 0 {
		return nil
	}
	clear(d.round)
	at := d.last.Time
	if d.began.IsZero() {
		d.began = at
	}
	d.written = at
	d.feed.Round(at, d.last.Trusted)
	s, since := w.label(at)
	record := []string{id, fixed(at.Sub(d.began).Seconds()), s.label, strconv.Itoa(s.fault), strconv.Itoa(s.rep), fixed(since)}
	for i, name := range w.names {
		if slices.Contains(unsaid, name) {
			continue
		}
		record = append(record, cell(d.values[1+i]))
	}
	w.Rows++
	return w.flush(record)
}

func fixed(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) }

// cell is a value as the forest takes it; empty for null.
func cell(v epl.Value) string {
	switch v.Any() {
	case nil:
		return ""
	case true:
		return "1"
	case false:
		return "0"
	}
	f, ok := v.Float()
	if !ok {
		return ""
	}
	return strconv.FormatFloat(f, 'g', -1, 32)
}
