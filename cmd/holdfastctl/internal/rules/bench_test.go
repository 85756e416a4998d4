package rules_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/rules"
)

func TestARuleIsMeasuredWithThoseThatMakeItsEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.epl")
	text := `@name('hot') insert into Hot select deviceId from DeviceStatus(cpuUtilization > 50);
		@name('twice') insert into Twice select count(*) as n from Hot#length(2);
		@name('other') select deviceId from Cpu;
		@name('told') select n from Twice(n = 2)`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []rules.Cost
	err := rules.Bench(context.Background(), rules.Options{}, []string{path}, nil, time.Millisecond, func(c rules.Cost) error {
		all = append(all, c)
		return nil
	})
	if err != nil || len(all) != 5 || all[3].Rule != "told" || all[4].Rule != "" {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, c := range all {
		if c.Events == 0 || c.Matches == 0 || c.NanosPerEvent <= 0 || c.MaxBytes == 0 {
			t.Errorf("%+v", c)
		}
	}
	if all[0].Events%10_000 != 0 || all[4].Events%20_000 != 0 { // of 20,000 that are made, half are of the type it takes
		t.Errorf("hot took %d events, all together %d", all[0].Events, all[4].Events)
	}
}

func TestEventsOfNoUseToARuleAreToldOf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.epl")
	if err := os.WriteFile(path, []byte("select deviceId from Cpu"), 0o600); err != nil {
		t.Fatal(err)
	}
	for lines, want := range map[string]string{
		`{"type":"DeviceStatus","time":1}`: "no event is of a type that the rule takes",
		`{"type":"Cpus","time":1}`:         `x:1: there is no event type "Cpus"`,
		`{"time":1}`:                       "x: there is no event in it",
	} {
		err := rules.Bench(context.Background(), rules.Options{}, []string{path}, rules.NewReader("x", strings.NewReader(lines)), time.Millisecond, nil)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", lines, err)
		}
	}
}

func TestCasesMayBeCompressed(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(`{"cases":[{"id":"one"},{"id":"two","expect":[{"at":0}]}]}`))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "c.json.gz")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var failed []string
	agree, all, err := rules.Replay(context.Background(), path, func(id, why string) { failed = append(failed, id+": "+why) })
	if err != nil || agree != 1 || all != 2 || len(failed) != 1 || !strings.HasPrefix(failed[0], "two: step 0") {
		t.Errorf("%d of %d, %q, %v", agree, all, failed, err)
	}
}
