package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/actuators/clean"
	"holdfast/cmd/internal/wire"
)

func TestAnErrandPrintsItsReport(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.tmp")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	entry, err := json.Marshal(clean.Entry{Paths: []string{dir + "/*.tmp"}, OlderThan: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		gone bool
	}{{[]string{wire.CleanErrand, "--dry", string(entry)}, false}, {[]string{wire.CleanErrand, string(entry)}, true}} {
		var out, errs bytes.Buffer
		code := dispatch(t.Context(), tt.args, streams{&out, &errs})
		if _, err := os.Stat(file); code != exitDone || (err != nil) != tt.gone || !strings.HasPrefix(out.String(), `{"files":1,`) || errs.Len() > 0 {
			t.Errorf("%q: exit %d, %s%s, the file: %v", tt.args, code, &out, &errs, err)
		}
	}
	for _, args := range [][]string{{wire.CleanErrand}, {wire.CleanErrand, "{}"}, {wire.CleanErrand, `{"paths":["/etc/*"]}`}, {wire.CleanErrand, `{"path":["/var/x"]}`},
		{wire.CycleErrand}, {wire.CycleErrand, "a/b", dir + "/keep"}, {wire.RaiseErrand, "lo"}, {wire.RaiseErrand, "", dir + "/keep"}} {
		var out, errs bytes.Buffer
		if code := dispatch(t.Context(), args, streams{&out, &errs}); code == exitDone || out.Len() > 0 {
			t.Errorf("%q: exit %d, %s", args, code, &out)
		}
	}
}
