package units_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/units"
)

// wire is a bus that answers what it is told to.
type wire struct {
	answer func(names []string) ([]units.State, error)
	closed int
}

func (w *wire) Close() { w.closed++ }
func (w *wire) States(_ context.Context, names []string) ([]units.State, error) {
	return w.answer(names)
}

// running answers that every unit runs.
func running(names []string) ([]units.State, error) {
	return slices.Repeat([]units.State{{Load: "loaded", Active: "active", Sub: "running", Restarts: 2, Since: 1500 * time.Millisecond}}, len(names)), nil
}

func TestSamplesOfUnits(t *testing.T) {
	for _, tt := range []struct {
		state units.State
		want  string // of the fields
	}{
		{units.State{Load: "loaded", Active: "active", Sub: "running", Restarts: 2, Since: 1500 * time.Millisecond}, `{"active":true,"state":"active/running","restarts_count":2,"since_seconds":1.5}`},
		{units.State{Load: "loaded", Active: "reloading", Sub: "reload", Restarts: -1, Since: 0}, `{"active":true,"state":"reloading/reload","since_seconds":0}`},
		{units.State{Load: "loaded", Active: "activating", Sub: "auto-restart", Restarts: 9, Since: time.Hour}, `{"active":false,"state":"activating/auto-restart","restarts_count":9,"since_seconds":3600}`},
		{units.State{Load: "loaded", Active: "failed", Sub: "failed", Restarts: 0, Since: -1}, `{"active":false,"state":"failed/failed","restarts_count":0}`},
		{units.State{Load: "not-found", Active: "inactive", Sub: "dead", Restarts: -1, Since: -1}, `{"active":false,"state":"not-found"}`},
	} {
		w := &wire{answer: func([]string) ([]units.State, error) { return []units.State{tt.state}, nil }}
		u := units.New(func(context.Context) (units.Bus, error) { return w, nil })
		if err := u.Watch([]string{"a.service"}); err != nil {
			t.Fatal(err)
		}
		got := ""
		err := u.Collect(t.Context(), func(s collectors.Sample) {
			measured(t, s)
			got = s.Instance + " " + string(s.AppendJSON(nil))
		})
		if err != nil || !strings.HasPrefix(got, "a.service ") || !strings.HasSuffix(got, `"fields":`+tt.want+"}") {
			t.Errorf("%+v: %s, %v, want %s", tt.state, got, err, tt.want)
		}
	}
}

// What a unit uses is read from its control group, of version 2 or 1, and what the group does not tell is left out.
func TestAUnitsControlGroupSaysWhatItUses(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"memory.current": "1\n", // of the whole machine
		"system.slice/new.service/memory.current":  "18446744073709551615\n",
		"system.slice/new.service/pids.current":    "7\n",
		"system.slice/new.service/cpu.stat":        "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
		"system.slice/bare.service/cpu.stat":       "usage_usec 1000\nuser_usec 1000\n",
		"system.slice/odd.service/memory.current":  "max\n",
		"system.slice/odd.service/pids.current":    "-4\n",
		"system.slice/odd.service/cpu.stat":        "user_usec 1000\nusage_usec 1000\n",
		"memory/old.service/memory.usage_in_bytes": "4096\n",
		"pids/old.service/pids.current":            "1\n",
		"cpuacct/old.service/cpuacct.usage":        "1500000000\n",
	} {
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ group, want string }{
		{"/system.slice/new.service", `,"tasks_count":7,"cpu_seconds":2.5`},
		{"/system.slice/bare.service", `,"cpu_seconds":0.001`},
		{"/system.slice/odd.service", ""},
		{"/old.service", `,"memory_bytes":4096,"tasks_count":1,"cpu_seconds":1.5`},
		{"/system.slice/none.service", ""},
		{"/system.slice/../system.slice/new.service", ""},
		{"/", ""},
		{"", ""},
	} {
		w := &wire{answer: func([]string) ([]units.State, error) {
			return []units.State{{Load: "loaded", Active: "active", Sub: "running", Restarts: -1, Since: -1, Group: tt.group}}, nil
		}}
		u := units.New(func(context.Context) (units.Bus, error) { return w, nil })
		if u.Groups = root; u.Watch([]string{"a.service"}) != nil {
			t.Fatal("no watch")
		}
		var got string
		if err := u.Collect(t.Context(), func(s collectors.Sample) { measured(t, s); got = string(s.AppendJSON(nil)) }); err != nil {
			t.Fatal(err)
		}
		if want := `"fields":{"active":true,"state":"active/running"` + tt.want + "}}"; !strings.HasSuffix(got, want) {
			t.Errorf("%q: %s, want %s", tt.group, got, want)
		}
	}
}

func TestALostBusIsReplaced(t *testing.T) {
	good := &wire{answer: running}
	lost := &wire{answer: func([]string) ([]units.State, error) { return nil, io.EOF }}
	short := &wire{answer: func([]string) ([]units.State, error) { return nil, nil }}
	refusing := &wire{answer: func([]string) ([]units.State, error) { return nil, fmt.Errorf("%w: no", units.ErrRefused) }}
	turning := func() *wire { // works once
		n := 0
		return &wire{answer: func(names []string) ([]units.State, error) {
			if n++; n > 1 {
				return nil, io.EOF
			}
			return running(names)
		}}
	}
	for _, tt := range []struct {
		name  string
		wires []*wire // as they are dialled
		want  []bool  // whether each reading works
		dials int
	}{
		{"good", []*wire{good}, []bool{true, true, true}, 1},
		{"lost between two readings", []*wire{turning(), good}, []bool{true, true, true}, 2},
		{"lost for good", []*wire{turning(), lost, lost}, []bool{true, false, false}, 3},
		{"a refusal keeps it", []*wire{refusing}, []bool{false, false}, 1},
		{"an answer of the wrong length", []*wire{short, good}, []bool{false, true}, 2},
	} {
		dials := 0
		u := units.New(func(context.Context) (units.Bus, error) {
			dials++
			return tt.wires[dials-1], nil
		})
		if err := u.Watch([]string{"a.service"}); err != nil {
			t.Fatal(err)
		}
		for i, want := range tt.want {
			if err := u.Collect(t.Context(), func(collectors.Sample) {}); (err == nil) != want {
				t.Errorf("%s: reading %d: %v", tt.name, i, err)
			}
		}
		if dials != tt.dials {
			t.Errorf("%s: dialled %d times, want %d", tt.name, dials, tt.dials)
		}
	}
	if lost.closed != 2 || short.closed != 1 || refusing.closed != 0 {
		t.Errorf("closed: lost %d, short %d, refusing %d", lost.closed, short.closed, refusing.closed)
	}
}

func TestTheWatchListIsCheckedAndReplaced(t *testing.T) {
	w := &wire{answer: running}
	u := units.New(func(context.Context) (units.Bus, error) { return w, nil })
	heard := func() (names []string) {
		err := u.Collect(t.Context(), func(s collectors.Sample) { names = append(names, s.Instance) })
		if (err == nil) != (len(names) > 0) || err != nil && !errors.Is(err, collectors.ErrNoData) {
			t.Errorf("Collect = %v", err)
		}
		return names
	}
	if got := heard(); got != nil {
		t.Errorf("before any list: %v", got)
	}
	list := []string{"b.service", "a.service"}
	if err := u.Watch(list); err != nil {
		t.Fatal(err)
	}
	list[0] = "changed.service"
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprintf("u%d.service", i))
	}
	for _, bad := range [][]string{{"a.service", "*.service"}, {"a.service", "a.service"}, {"--help"}, many} {
		if err := u.Watch(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if got := heard(); !slices.Equal(got, []string{"b.service", "a.service"}) {
		t.Errorf("heard of %q", got)
	}
	if err := u.Watch(many[:64]); err != nil || len(heard()) != 64 {
		t.Errorf("64 units: %v", err)
	}
	if err := u.Watch(nil); err != nil || heard() != nil || w.closed != 1 {
		t.Errorf("no units: %v, closed %d times", err, w.closed)
	}
}

func TestADialThatFindsNoBus(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/none")
	for name, dial := range map[string]func(context.Context) (units.Bus, error){
		"system": units.System, "private": units.Private(t.TempDir() + "/none"),
	} {
		u := units.New(dial)
		if err := u.Watch([]string{"a.service"}); err != nil {
			t.Fatal(err)
		}
		if err := u.Collect(t.Context(), nil); !errors.Is(err, collectors.ErrNoData) {
			t.Errorf("%s: %v, want ErrNoData", name, err)
		}
	}
}

// measured fails the test when a sample holds a field that the table does not explain.
func measured(t *testing.T, s collectors.Sample) {
	t.Helper()
	for _, f := range s.Fields {
		if !slices.ContainsFunc(units.Measures(), func(m collectors.Measure) bool { return m.Source == s.Source && m.Field == f.Name }) {
			t.Errorf("%s is not in the table of %s", f.Name, s.Source)
		}
	}
}
