package record_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/record"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

func TestLineHasTheDocumentedForm(t *testing.T) {
	for _, tt := range []struct {
		line record.Line
		want string
	}{
		{record.Line{Received: start, Topic: "holdfast/d/status", Retained: true, Payload: []byte("{ \"online\": true }\n")},
			`{"received":"2026-03-04T05:06:07.089Z","topic":"holdfast/d/status","retained":true,"payload":{"online":true}}`},
		{record.Line{Received: start, Topic: "t\n", Payload: []byte("hi\n")},
			`{"received":"2026-03-04T05:06:07.089Z","topic":"t\n","payload_text":"hi\n"}`},
		{record.Line{Received: start, Topic: "t", Payload: []byte{0xff, 0}},
			`{"received":"2026-03-04T05:06:07.089Z","topic":"t","payload_base64":"/wA="}`},
		{record.Line{Received: start, Topic: "t"},
			`{"received":"2026-03-04T05:06:07.089Z","topic":"t","payload_text":""}`},
	} {
		if got := string(tt.line.Append(nil)); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func files(t *testing.T, dir string) (lines []int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "holdfast-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) {
			if !json.Valid(l) {
				t.Errorf("%s: %q is not JSON", n, l)
			}
		}
		lines = append(lines, bytes.Count(b, []byte("\n")))
	}
	return lines
}

func TestFilesAreRotatedBySizeAndAgeAndOnlySoManyAreKept(t *testing.T) {
	dir := t.TempDir()
	w, err := record.New(record.Options{Dir: dir, Bytes: 250, Age: time.Hour, Files: 3})
	if err != nil {
		t.Fatal(err)
	}
	now := start
	write := func(n int) {
		for range n {
			if err := w.Write(record.Line{Received: now, Topic: "t", Payload: []byte(`{"n":1}`)}); err != nil { // 71 bytes
				t.Fatal(err)
			}
		}
	}
	write(5)
	if got := files(t, dir); len(got) != 2 || got[0] != 3 || got[1] != 2 {
		t.Errorf("by size: %v", got)
	}
	now = now.Add(time.Hour)
	write(1)
	if got := files(t, dir); len(got) != 3 || got[2] != 1 {
		t.Errorf("by age: %v", got)
	}
	write(3)
	if got := files(t, dir); len(got) != 3 || got[0] != 2 || got[1] != 3 || got[2] != 1 {
		t.Errorf("kept: %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(1)
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Error("a file that is not ours was removed")
	}
}

// A line longer than a whole file is written all the same, in a file of its own.
func TestLongLineIsNotLost(t *testing.T) {
	dir := t.TempDir()
	w, err := record.New(record.Options{Dir: dir, Bytes: 10})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Write(record.Line{Received: start, Topic: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("%v", got)
	}
}
