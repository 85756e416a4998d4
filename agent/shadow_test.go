package agent_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/board/sim"
)

func TestADesiredChangeIsAppliedAndReported(t *testing.T) {
	live(t, func(r *rig) {
		var watched [][]string
		r.parts.Watch = func(units []string) { watched = append(watched, units) }
		r.parts.Settings.Watch = []string{"ssh.service"}
		r.start()
		if len(watched) != 1 || watched[0][0] != "ssh.service" {
			t.Errorf("watched at the start: %v", watched)
		}
		r.desire(7, `{"period":"5s","cpu":80,"labels":{"site.name":"north","":"x"},"relays":{"pump":true,"pmup":true},
			"units":{"watch":["cron.service"]},"log":{"level":"debug"},"colour":"red","memory":null}`)
		r.pass(15 * time.Second)
		m := r.reported()
		if m["epoch"] != "e" || m["version"] != 7.0 {
			t.Errorf("answered %v/%v", m["epoch"], m["version"])
		}
		for path, want := range map[string]string{"relays.pmup": "no such output", "colour": "no such setting", `labels.\e`: "is not a name"} {
			if got := r.refused(path); !strings.Contains(got, want) {
				t.Errorf("refused %s: %q, want %q in it", path, got, want)
			}
		}
		if n := len(m["refused"].(map[string]any)); n != 3 {
			t.Errorf("refused: %v", m["refused"])
		}
		for _, tt := range []struct {
			want any
			keys []string
		}{
			{"5s", []string{"period"}}, {80.0, []string{"limits", "cpu"}}, {"north", []string{"labels", "site.name"}},
			{true, []string{"relays", "pump"}}, {nil, []string{"relays", "pmup"}}, {nil, []string{"colour"}},
			{"debug", []string{"log", "level"}}, {nil, []string{"labels", ""}},
		} {
			if got := r.at(tt.keys...); got != tt.want {
				t.Errorf("reported %v: %v, want %v", tt.keys, got, tt.want)
			}
		}
		if !r.pump.Level() || r.parts.Level.Level() >= 0 || len(watched) != 2 || watched[1][0] != "cron.service" {
			t.Errorf("pump %v, level %v, watched %v", r.pump.Level(), r.parts.Level.Level(), watched)
		}
		before := len(r.heard("telemetry"))
		r.pass(time.Minute)
		if n := len(r.heard("telemetry")) - before; n != 12 {
			t.Errorf("%d records in a minute at 5 s", n)
		}
		if e := r.events("shadow"); len(e) != 1 || e[0]["phase"] != "applied" {
			t.Errorf("events: %v", e)
		}
	})
}

func TestAnUnreadableDocumentIsRefusedAsAWhole(t *testing.T) {
	for _, tt := range []struct{ name, payload, want string }{
		{"too large", `{"version":8,"state":{"labels":{"a":"` + strings.Repeat("x", 9000) + `"}}}`, "bytes"},
		{"too deep", `{"version":8,"state":` + strings.Repeat(`{"a":`, 12) + `1` + strings.Repeat(`}`, 12) + `}`, "deep"},
		{"a key twice", `{"version":8,"state":{"cpu":1,"cpu":2}}`, "cpu"},
		{"not UTF-8", "{\"version\":8,\"state\":{\"labels\":{\"a\":\"\xff\"}}}", "UTF-8"},
		{"not JSON", `period: 5s`, ""},
		{"not an object", `{"version":8,"state":[1]}`, ""},
		{"beyond what the link takes", `{"version":8,"state":{"labels":{"a":"` + strings.Repeat("x", 80<<10) + `"}}}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			live(t, func(r *rig) {
				r.start()
				r.desire(7, `{"period":"5s"}`)
				r.pass(3 * time.Minute)
				r.say("shadow/desired", true, tt.payload)
				r.pass(15 * time.Second)
				if got := r.refused(""); got == "" || !strings.Contains(got, tt.want) {
					t.Errorf("refused: %q, want %q in it", got, tt.want)
				}
				if m := r.reported(); m["version"] != 7.0 || r.at("period") != "5s" {
					t.Errorf("in force after it: %v", m)
				}
				r.desire(9, `{"period":"6s"}`)
				r.pass(15 * time.Second)
				if got := r.refused(""); got != "" || r.at("period") != "6s" {
					t.Errorf("after a good one: refused %q, period %v", got, r.at("period"))
				}
			})
		})
	}
}

func TestTheLastGoodDesiredIsInForceWithoutNetwork(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		// Nearly as many members as a document of 8 KiB can have, so that what is kept is as large as it gets.
		many := make([]string, 900)
		for i := range many {
			many[i] = fmt.Sprintf(`"%03d":1`, i)
		}
		r.desire(1, `{"period":"7s","relays":{"pump":true},"x":{`+strings.Join(many, ",")+`}}`)
		r.pass(3 * time.Minute)
		r.desire(2, `{"period":"8s","relays":{"pump":true},"x":{`+strings.Join(many, ",")+`}}`)
		r.pass(time.Minute)
		r.stop()
		r.broker.Down()
		r.pump = sim.NewOutput("pump", false)
		r.start()
		if s := r.status(); s.Shadow.Version != 2 || !r.pump.Level() {
			t.Errorf("in force without network: %+v, pump %v", s.Shadow, r.pump.Level())
		}
		r.broker.Up()
		r.pass(3 * time.Minute)
		if s := r.status(); s.Shadow.Version != 2 || s.Shadow.Trial {
			t.Errorf("afterwards: %+v", s.Shadow)
		}
		r.crash()
		r.broker.Down()
		r.start()
		r.pass(time.Hour)
		if s := r.status(); s.Shadow.Version != 2 || !r.pump.Level() {
			t.Errorf("in force after an hour without network: %+v", s.Shadow)
		}
	})
}

func TestAChangeTheAgentCrashesWithTwiceIsRolledBack(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.desire(1, `{"period":"7s"}`)
		r.pass(3 * time.Minute)
		r.desire(2, `{"period":"1s"}`)
		r.stop() // in order: counts for nothing
		r.start()
		r.pass(time.Second)
		r.stop()
		r.start()
		r.pass(time.Second)
		r.crash()
		r.start()
		r.pass(time.Second)
		if s := r.status(); s.Shadow.Version != 2 || !s.Shadow.Trial {
			t.Errorf("after one crash: %+v", s.Shadow)
		}
		r.crash()
		r.start()
		r.pass(15 * time.Second)
		if r.at("period") != "7s" || !strings.Contains(r.refused(""), "crashed 2 times") || r.reported()["version"] != 2.0 {
			t.Errorf("after two: %v", r.reported())
		}
		if e := r.events("shadow"); e[len(e)-1]["phase"] != "rolled_back" {
			t.Errorf("events: %v", e)
		}
		r.pass(10 * time.Minute)
		r.stop()
		r.start()
		r.pass(10 * time.Minute)
		if r.at("period") != "7s" || r.refused("") == "" {
			t.Errorf("the same document was tried again: %v", r.reported())
		}
		r.desire(3, `{"period":"2s"}`)
		r.pass(10 * time.Minute)
		if r.at("period") != "2s" || r.refused("") != "" || r.status().Shadow.Trial {
			t.Errorf("a newer one: %v", r.reported())
		}
	})
}

func TestAChangeThatLosesTheLinkIsRolledBack(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.desire(1, `{"period":"7s"}`)
		r.pass(3 * time.Minute)
		r.desire(2, `{"period":"1s"}`)
		r.pass(time.Minute)
		r.broker.Down()
		r.pass(4 * time.Minute)
		if s := r.status(); s.Shadow.Version != 2 {
			t.Errorf("rolled back before its time: %+v", s.Shadow)
		}
		r.pass(2 * time.Minute)
		if s := r.status(); s.Shadow.Version != 1 || s.Shadow.Trial {
			t.Errorf("not rolled back: %+v", s.Shadow)
		}
		r.broker.Up()
		r.pass(time.Minute)
		if r.at("period") != "7s" || !strings.Contains(r.refused(""), "link did not come back") {
			t.Errorf("reported: %v", r.reported())
		}
		r.desire(1, `{"period":"7s"}`) // the operator comes back to what is in force
		r.pass(time.Minute)
		if r.refused("") != "" || r.reported()["version"] != 1.0 {
			t.Errorf("reported after the operator gave in: %v", r.reported())
		}
	})
}

func TestAnInterlockDelaysADesiredLevel(t *testing.T) {
	live(t, func(r *rig) {
		r.minOff = time.Minute
		r.start()
		r.desire(1, `{"relays":{"pump":true}}`)
		r.pass(20 * time.Second)
		if r.pump.Level() || !strings.Contains(r.refused("relays.pump"), "interlock") {
			t.Errorf("pump %v, refused %q", r.pump.Level(), r.refused("relays.pump"))
		}
		r.pass(time.Minute)
		if !r.pump.Level() || r.refused("relays.pump") != "" || r.at("relays", "pump") != true {
			t.Errorf("after the interlock: pump %v, %v", r.pump.Level(), r.reported())
		}
	})
}

func TestTelemetryGoesOnWithoutADisk(t *testing.T) {
	for _, tt := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
		t.Run(tt.Error(), func(t *testing.T) {
			live(t, func(r *rig) {
				r.start()
				r.pass(time.Minute)
				r.disk.Break(sim.Fault{Err: tt})
				r.desire(1, `{"period":"5s"}`)
				before := len(r.heard("telemetry"))
				r.pass(time.Minute)
				if n := len(r.heard("telemetry")) - before; n < 11 {
					t.Errorf("%d records in a minute without a disk", n)
				}
				if s := r.status(); s.Problems["spool"] == "" || s.Problems["shadow"] == "" || !strings.Contains(s.Spool.Degraded, tt.Error()) {
					t.Errorf("status: %+v %v", s.Spool, s.Problems)
				}
				r.say("command", false, `{"id":"c1","name":"ping"}`)
				r.say("command", false, `{"id":"c2","issuer":"anna","seq":1,"name":"restart","expires":"`+time.Now().Add(time.Minute).Format(time.RFC3339)+`"}`)
				r.pass(time.Second)
				if a, b := r.result("c1"), r.result("c2"); len(a) != 1 || a[0]["ok"] != true || len(b) != 1 || b[0]["ok"] != false || len(r.deeds) > 0 {
					t.Errorf("commands without a disk: %v %v, done: %v", a, b, r.deeds)
				}
				r.disk.Repair()
				r.pass(20 * time.Second)
				if d, _, err := agent.OpenDesired(r.disk.Clone().Files("state")); err != nil || d.InForce().Version != 1 {
					t.Errorf("on flash after the repair: %+v %v", d.InForce(), err)
				}
				r.pass(3 * time.Minute)
				if s := r.status(); len(s.Problems) > 0 || s.Shadow.Trial {
					t.Errorf("after the repair: %v %+v", s.Problems, s.Shadow)
				}
				if a := r.whole(); a.told > 0 {
					t.Errorf("%+v", a)
				}
				r.crash()
				r.broker.Down()
				r.start()
				if s := r.status(); s.Shadow.Version != 1 {
					t.Errorf("what was desired while the disk was away is forgotten: %+v", s.Shadow)
				}
			})
		})
	}
}

func TestADamagedDesiredIsTold(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.desire(1, `{"period":"7s"}`)
		r.pass(time.Minute)
		r.stop()
		if err := r.disk.Files("state").WriteFile("desired.json", []byte(`{"good":`)); err != nil {
			t.Fatal(err)
		}
		r.broker.Down()
		r.start()
		r.broker.Up()
		r.pass(time.Minute)
		found := false
		for _, e := range r.events("shadow") {
			found = found || e["phase"] == "lost"
		}
		if !found || r.at("period") != "7s" {
			t.Errorf("told %v, period %v", found, r.at("period"))
		}
	})
}

func TestOutputsThatSomethingElseSwitchedAreRestored(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.desire(1, `{"relays":{"pump":true}}`)
		if err := r.agent.Turn(r.t.Context()); err != nil || !r.pump.Level() {
			t.Fatalf("Turn = %v, pump %t", err, r.pump.Level())
		}
		if err := r.pump.Drive(false); err != nil { // as what keeps it safe does
			t.Fatal(err)
		}
		r.pass(time.Hour)
		if r.pump.Level() {
			t.Error("the agent switches it by itself")
		}
		if err := r.agent.Restore(r.t.Context(), map[string]any{"phase": "safe", "seconds": 7}); err != nil || !r.pump.Level() {
			t.Errorf("Restore = %v, pump %t", err, r.pump.Level())
		}
		r.pass(time.Minute)
		told := false
		for _, e := range r.heard("event") {
			told = told || strings.Contains(fmt.Sprint(e), "safe") && strings.Contains(fmt.Sprint(e), "lines")
		}
		if !told {
			t.Errorf("events %v", r.heard("event"))
		}
		r.stop()
		if err := r.agent.Turn(r.t.Context()); err == nil {
			t.Error("a stopped agent's loop goes round")
		}
	})
}

func TestALineThatDoesNotObeyIsSetWhenItDoes(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.pump.Break(errors.New("chip is gone"))
		r.desire(1, `{"relays":{"pump":true}}`)
		if s := r.status(); !strings.Contains(s.Shadow.Refused["relays.pump"], "chip is gone") {
			t.Errorf("refused %v", s.Shadow.Refused)
		}
		r.pump.Break(nil)
		r.pass(time.Minute)
		if s := r.status(); len(s.Shadow.Refused) != 0 || !r.pump.Level() {
			t.Errorf("refused %v, pump %t", s.Shadow.Refused, r.pump.Level())
		}
	})
}
