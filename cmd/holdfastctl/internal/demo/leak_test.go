//go:build linux

package demo_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/demo"
	"holdfast/collectors"
	"holdfast/collectors/units"
	"holdfast/remediate"
	"holdfast/remediate/epl"
	"holdfast/remediate/forest/train"
)

var (
	record = flag.Bool("record", false, "record the leaking program anew, which takes four minutes")
	update = flag.Bool("update", false, "make the model of the recording anew")
)

const (
	recording = "testdata/leak.csv"
	leakModel = "leak.hfm"
	leakRow   = 500 * time.Millisecond
)

// The model that the demo brings is made of a recording of the leaking program, byte for byte.
func TestTheModelOfTheLeakIsMadeOfItsRecording(t *testing.T) {
	if *record {
		if err := os.WriteFile(recording, recorded(t), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(recording)
	if err != nil {
		t.Fatal(err)
	}
	table, err := train.ReadTable(bytes.NewReader(text), recording, "label", "")
	if err != nil {
		t.Fatal(err)
	}
	set, err := train.NewSet([]*train.Table{table}, 8, nil, "normal")
	if err != nil {
		t.Fatal(err)
	}
	made, err := train.Train(set, train.ByEvent, train.Options{Seed: 1, Trees: 20, Depth: 6, Spread: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	if *update || *record {
		if err := os.WriteFile(leakModel, made.Bytes, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(leakModel)
	if err != nil || !bytes.Equal(have, made.Bytes) {
		t.Errorf("%s is not what its recording makes (%v); -update makes it anew", leakModel, err)
	}
	for _, f := range made.Folds {
		t.Logf("held out %s: %d rows, macro-F1 %.3f", f.Name, f.Rows, f.MacroF1)
	}
}

// recorded runs the leaking program, sound and then leaking, at several paces, and writes what DeviceStatus says of it.
func recorded(t *testing.T) []byte {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	write := func(words ...string) {
		if err := w.Write(words); err != nil {
			t.Fatal(err)
		}
	}
	write("dev", "t", "label", "fault_no", "rep", "since", "unitMemory", "unitTasks")
	began := time.Now()
	for rep, step := range []int{1 << 20, 2 << 20, 4 << 20, 1 << 20, 2 << 20, 4 << 20} {
		ballast := rep / 2 * 20 << 20 // so that whatever is held out, each is in the rest
		ctx, stop := context.WithCancel(t.Context())
		s, ended := demo.NewService([]string{self, "leak", strconv.Itoa(step), strconv.Itoa(ballast)}, t.TempDir(), os.Stderr), make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		seen := status(t, s)
		for _, phase := range []struct {
			label string
			rows  int
		}{{"normal", 50}, {"mem_leak", 24}} {
			if phase.label == "mem_leak" {
				s.Leak(ctx)
			}
			from := time.Now()
			tick := time.NewTicker(leakRow)
			for range phase.rows {
				<-tick.C
				memory, tasks := seen()
				seconds := func(since time.Time) string { return strconv.FormatFloat(time.Since(since).Seconds(), 'f', 2, 64) }
				write("demo", seconds(began), phase.label, strconv.Itoa(rep), strconv.Itoa(rep), seconds(from), memory, tasks)
			}
			tick.Stop()
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	if err := errors.Join(w.Error(), t.Context().Err()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// status reads the service by the collector of units, and returns what DeviceStatus says.
func status(t *testing.T, s *demo.Service) func() (memory, tasks string) {
	source := units.New(func(context.Context) (units.Bus, error) { return s, nil })
	source.Groups = s.Groups()
	if err := source.Watch([]string{demo.ServiceName}); err != nil {
		t.Fatal(err)
	}
	names := remediate.StatusNames()
	var vals []epl.Value
	feed := remediate.NewFeed(remediate.Catalogue(), remediate.FeedOptions{Device: "demo", Send: func(e *epl.Type, v []epl.Value) {
		if e.Name == "DeviceStatus" {
			vals = v
		}
	}})
	say := func(name string) string {
		n, ok := vals[1+slices.Index(names, name)].Float()
		if !ok {
			return ""
		}
		return strconv.FormatFloat(n, 'g', -1, 64)
	}
	return func() (memory, tasks string) {
		now := time.Now()
		if err := source.Collect(t.Context(), func(one collectors.Sample) { one.Time = now; feed.Sample(&one) }); err != nil {
			t.Fatal(err)
		}
		feed.Round(now, true)
		return say("unitMemory"), say("unitTasks")
	}
}
