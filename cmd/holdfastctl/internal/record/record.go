// Package record writes messages to files of JSON lines that are rotated, and of which only so many are kept.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Options say where and how much is written. A zero number means its default.
type Options struct {
	Dir   string
	Bytes int64         // of a file before the next one is begun; 64 MiB
	Age   time.Duration // of a file before the next one is begun; 24 h
	Files int           // that are kept; the oldest goes first; 30
}

const (
	prefix = "holdfast-"
	suffix = ".jsonl"
)

// A Writer has one owner.
type Writer struct {
	o     Options
	f     *os.File
	size  int64
	begun time.Time
	serie int
}

// A Line is one message as it is written.
type Line struct {
	Received time.Time
	Topic    string
	Retained bool
	Payload  []byte
}

// New makes the directory. The first file is begun with the first line.
func New(o Options) (*Writer, error) {
	if o.Bytes <= 0 {
		o.Bytes = 64 << 20
	}
	if o.Age <= 0 {
		o.Age = 24 * time.Hour
	}
	if o.Files <= 0 {
		o.Files = 30
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return &Writer{o: o}, nil
}

// Append encodes the line as one JSON object without a line end: received, topic, retained where it is true, and the
// payload as JSON where it is JSON, as text where it is UTF-8, else as base64.
func (l Line) Append(b []byte) []byte {
	b = append(b, `{"received":"`...)
	b = l.Received.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
	b = append(b, `","topic":`...)
	b = quote(b, l.Topic)
	if l.Retained {
		b = append(b, `,"retained":true`...)
	}
	var compact bytes.Buffer
	switch {
	case len(l.Payload) > 0 && json.Compact(&compact, l.Payload) == nil:
		b = append(append(b, `,"payload":`...), compact.Bytes()...)
	case utf8.Valid(l.Payload):
		b = quote(append(b, `,"payload_text":`...), string(l.Payload))
	default:
		q, _ := json.Marshal(l.Payload) // bytes always marshal
		b = append(append(b, `,"payload_base64":`...), q...)
	}
	return append(b, '}')
}

func quote(b []byte, s string) []byte {
	q, _ := json.Marshal(s) // a string always marshals
	return append(b, q...)
}

// Write appends one line. When it returns nil, the line has been given to the operating system.
func (w *Writer) Write(l Line) error {
	b := append(l.Append(nil), '\n')
	if w.f != nil && (w.size+int64(len(b)) > w.o.Bytes || l.Received.Sub(w.begun) >= w.o.Age) {
		if err := w.Close(); err != nil {
			return err
		}
	}
	if w.f == nil {
		if err := w.begin(l.Received); err != nil {
			return err
		}
	}
	n, err := w.f.Write(b)
	w.size += int64(n)
	if err != nil {
		// Half a line at most: the next file begins clean.
		return fmt.Errorf("record: %w", errors.Join(err, w.Close()))
	}
	return nil
}

func (w *Writer) begin(now time.Time) error {
	for {
		w.serie++
		name := fmt.Sprintf("%s%s-%04d%s", prefix, now.UTC().Format("20060102T150405"), w.serie, suffix)
		f, err := os.OpenFile(filepath.Join(w.o.Dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue // of another recorder in the same directory
		}
		if err != nil {
			return fmt.Errorf("record: %w", err)
		}
		w.f, w.size, w.begun = f, 0, now
		return w.thin()
	}
}

// thin removes the oldest files beyond the number kept. Names sort by time.
func (w *Writer) thin() error {
	entries, err := os.ReadDir(w.o.Dir)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	var ours []string
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, prefix) && strings.HasSuffix(n, suffix) && e.Type().IsRegular() {
			ours = append(ours, n)
		}
	}
	slices.Sort(ours)
	for len(ours) > w.o.Files {
		if err := os.Remove(filepath.Join(w.o.Dir, ours[0])); err != nil {
			return fmt.Errorf("record: %w", err)
		}
		ours = ours[1:]
	}
	return nil
}

// Close syncs and closes the present file. A later Write begins another.
func (w *Writer) Close() error {
	if w.f == nil {
		return nil
	}
	err := errors.Join(w.f.Sync(), w.f.Close())
	w.f = nil
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}
