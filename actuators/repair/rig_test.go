package repair_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/repair"
	"holdfast/board/sim"
	"holdfast/remediate/ladder"
)

// A machine runs in simulated time: its true time goes on, its uptime starts with each boot, its wall clock may lie.
type machine struct {
	wall    time.Time
	trusted bool
	true_   time.Duration
	booted  time.Duration
	boots   int
}

func (m *machine) Now() time.Time { return m.wall }
func (m *machine) Trusted() bool  { return m.trusted }
func (m *machine) Timer(time.Duration) (<-chan time.Time, func()) {
	return nil, func() {}
}
func (m *machine) uptime() (string, time.Duration) {
	return fmt.Sprintf("boot-%d", m.boots), m.true_ - m.booted
}
func (m *machine) pass(d time.Duration) { m.true_ += d; m.wall = m.wall.Add(d) }
func (m *machine) boot()                { m.boots++; m.booted = m.true_ }

// A rig is a warden's part of the ladder on a disk that remembers what a power cut may undo.
type rig struct {
	t         *testing.T
	m         *machine
	disk      *sim.Disk
	playbooks fstest.MapFS
	armed     []string
	limits    []actuators.Limit
	says      map[string]string // off, busy, holds, sessions
	did       []string          // deeds, with their arguments
	fail      error             // of every deed
	log       strings.Builder
	r         *repair.Repairs
}

func newRig(t *testing.T, playbooks ...string) *rig {
	g := &rig{t: t, m: &machine{wall: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), trusted: true}, disk: sim.NewDisk(1),
		playbooks: fstest.MapFS{}, says: map[string]string{}}
	for i, text := range playbooks {
		g.playbooks[fmt.Sprintf("p%d.toml", i)] = &fstest.MapFile{Data: []byte(text), Mode: 0o600}
	}
	g.armed = []string{"mem_leak", "net_down"}
	g.start()
	return g
}

// start starts the warden anew, on the same disk.
func (g *rig) start() {
	g.t.Helper()
	files := g.disk.Files("warden")
	limiter, err := actuators.NewLimiter(files, g.m, g.m.uptime, g.limits...)
	if err != nil {
		g.t.Fatal(err)
	}
	set, err := actuators.NewSet(actuators.Options{Allow: []string{"unit.restart", "script", "clean", "reboot"}, Clock: g.m, Limiter: limiter}, g.verbs()...)
	if err != nil {
		g.t.Fatal(err)
	}
	say := func(what string) func() string { return func() string { return g.says[what] } }
	g.r, err = repair.New(repair.Options{Set: set, Limiter: limiter, Files: files, Clock: g.m, Armed: g.armed, Seed: 1,
		Playbooks: func() (ladder.Shelf, error) { return ladder.Load(nil, nil, g.playbooks) },
		Off:       say("off"), Busy: say("busy"), Holds: say("holds"), Sessions: say("sessions"),
		Log: slog.New(slog.NewTextHandler(&g.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))})
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) verbs() []actuators.Verb {
	verb := func(name, class string, params ...actuators.Param) actuators.Verb {
		return actuators.Verb{Name: name, Class: class, Params: params, Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			text, _ := json.Marshal(args)
			g.did = append(g.did, name+" "+string(text)+" for "+actuators.Reason(ctx))
			return actuators.Result{"seconds": 1.5}, g.fail
		}}
	}
	return []actuators.Verb{
		verb("unit.restart", actuators.Repair, actuators.Param{Name: "unit", Kind: actuators.Text, Required: true, Choices: []string{"app.service", "net.service"}}),
		verb("script", actuators.Repair, actuators.Param{Name: "name", Kind: actuators.Text, Required: true}, actuators.Param{Name: "args", Kind: actuators.List},
			actuators.Param{Name: "n", Kind: actuators.Number, Min: 1, Max: 9}, actuators.Param{Name: "quiet", Kind: actuators.Truth}),
		verb("clean", "", actuators.Param{Name: "name", Kind: actuators.Text, Choices: []string{""}}), verb("reboot", actuators.Reboot), verb("secret", ""),
	}
}

// ask asks for a verb as it comes from the frames.
func (g *rig) ask(verb string, args actuators.Args) (actuators.Result, error) {
	g.t.Helper()
	for _, v := range g.r.Verbs() {
		if v.Name != verb {
			continue
		}
		if args == nil {
			args = actuators.Args{}
		}
		raw, err := json.Marshal(args)
		if err != nil {
			g.t.Fatal(err)
		}
		checked, err := v.Check(raw)
		if err != nil {
			return nil, err
		}
		result, err := v.Do(g.t.Context(), checked)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(result) // as it crosses the wire
		if err != nil {
			g.t.Fatal(err)
		}
		back := actuators.Result{}
		if err := json.Unmarshal(text, &back); err != nil {
			g.t.Fatal(err)
		}
		return back, nil
	}
	g.t.Fatalf("no verb %s", verb)
	return nil, nil
}

func (g *rig) must(verb string, args actuators.Args) actuators.Result {
	g.t.Helper()
	result, err := g.ask(verb, args)
	if err != nil {
		g.t.Fatalf("%s: %v", verb, err)
	}
	return result
}

func (g *rig) plan(fault string) actuators.Result {
	g.t.Helper()
	return g.must("repair.plan", actuators.Args{"fault": fault})
}

func (g *rig) step(fault string, rung int, values string) (actuators.Result, error) {
	g.t.Helper()
	return g.ask("repair.step", actuators.Args{"fault": fault, "rung": float64(rung), "values": values, "evidence": `{"why":"it leaks"}`})
}

func (g *rig) end(fault string, rung int, helped bool) actuators.Result {
	g.t.Helper()
	return g.must("repair.end", actuators.Args{"fault": fault, "rung": float64(rung), "helped": helped})
}

func (g *rig) is(got, want any, what string) {
	g.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		g.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func (g *rig) refused(err error, sentinel error, words string) {
	g.t.Helper()
	if err == nil || !errors.Is(err, sentinel) || !strings.Contains(err.Error(), words) {
		g.t.Errorf("%v\nwant %v: …%s…", err, sentinel, words)
	}
}
