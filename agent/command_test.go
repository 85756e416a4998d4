package agent_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/board/sim"
)

// soon is an expiry a minute ahead.
func soon() string { return time.Now().Add(time.Minute).UTC().Format(time.RFC3339) }

func restart(id string, seq int, expires string) string {
	return fmt.Sprintf(`{"id":%q,"issuer":"anna","seq":%d,"name":"restart","args":{"unit":%q},"expires":%q}`, id, seq, id, expires)
}

func TestCommandsAreAnswered(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.pass(15 * time.Second)
		for _, tt := range []struct{ id, envelope, want string }{
			{"ping", `{"id":"ping","name":"ping"}`, `"ok":true`},
			{"sample", `{"id":"sample","name":"sample","args":{"source":"cpu"}}`, `busy_ratio`},
			{"relay", `{"id":"relay","name":"relay.set","args":{"name":"pump","on":true}}`, `"changed":true`},
			{"gone", `{"id":"gone","name":"ping","expires":"` + time.Now().Add(-time.Second).UTC().Format(time.RFC3339) + `"}`, `expired`},
			{"type", `{"id":"type","name":"relay.set","args":{"name":"pump","on":"yes"}}`, `wrong arguments`},
			{"shell", `{"id":"shell","name":"shell","args":{}}`, `no such verb`},
			{"key", `{"id":"key","name":"ping","nmae":"x"}`, `nmae`},
			{"twice", `{"id":"twice","name":"ping","name":"ping"}`, `name`},
			{"when", `{"id":"when","name":"ping","expires":"soon"}`, `not a time`},
			{"nobody", `{"id":"nobody","name":"restart","expires":"` + soon() + `"}`, `issuer`},
			{"endless", `{"id":"endless","issuer":"anna","seq":1,"name":"restart"}`, `expires`},
			{"far", restart("far", 1, "2100-01-01T00:00:00Z"), `ahead`},
			{"restart", restart("restart", 1, soon()), `"ok":true`},
			{"late", restart("late", 1, soon()), `used before`},
		} {
			r.say("command", false, tt.envelope)
			r.pass(time.Second)
			got := r.result(tt.id)
			if len(got) != 1 || !strings.Contains(mustJSON(t, got[0]), tt.want) {
				t.Errorf("%s: answered %v, want %s", tt.id, got, tt.want)
			}
		}
		if !r.pump.Level() || len(r.deeds) != 1 {
			t.Errorf("pump %v, deeds %v", r.pump.Level(), r.deeds)
		}
		answered := len(r.heard("command/result"))
		for _, quiet := range []string{`{"name":"ping"}`, `[]`, `x`, strings.Repeat(`[`, 9000), `{"id":"` + strings.Repeat("x", 100) + `","name":"ping"}`} {
			r.say("command", false, quiet)
		}
		r.pass(time.Second)
		if n := len(r.heard("command/result")) - answered; n != 0 {
			t.Errorf("%d answers to what has no id", n)
		}
		if e := r.events("command"); len(e) != 2 || e[0]["phase"] != "begun" || e[1]["phase"] != "done" {
			t.Errorf("audit: %v", e)
		}
		r.pass(15 * time.Second)
		if r.at("relays", "pump") != true {
			t.Error("the relay's level is not reported")
		}
	})
}

func TestACommandIsDoneOnceAcrossRestarts(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		command := restart("c1", 5, soon())
		r.say("command", false, command)
		r.say("command", false, command)
		r.pass(time.Second)
		r.say("command", false, command)
		r.stop()
		r.start()
		r.say("command", false, command)
		r.pass(time.Second)
		r.crash()
		r.start()
		r.say("command", false, command)
		r.pass(time.Second)
		if len(r.deeds) != 1 {
			t.Errorf("done %d times", len(r.deeds))
		}
		ok := 0
		for _, a := range r.result("c1") {
			if a["ok"] == true {
				ok++
			}
		}
		if ok < 4 {
			t.Errorf("%d of the answers say it was done: %v", ok, r.result("c1"))
		}
	})
}

// replays is how many times a recorded destructive command is played again: 100,000 when HOLDFAST_REPLAYS says so.
func replays(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("HOLDFAST_REPLAYS"))
	if err != nil {
		return 1000
	}
	t.Logf("%d replays", n)
	return n
}

func TestReplaysOfADestructiveCommandDoNothing(t *testing.T) {
	n := replays(t)
	for _, trusted := range []bool{true, false} {
		live(t, func(r *rig) {
			r.clock.untrusted.Store(!trusted)
			r.parts.Settings.Period = time.Hour
			r.start()
			r.say("command", false, `{"id":"p","issuer":"anna","seq":6,"name":"ping"}`)
			var recorded []string
			for i := range 20 {
				recorded = append(recorded, restart("c"+strconv.Itoa(i), 7+i, time.Now().Add(23*time.Hour).UTC().Format(time.RFC3339)))
				r.say("command", false, recorded[i])
				r.pass(time.Second)
			}
			if len(r.deeds) != 20 {
				t.Fatalf("trusted %v: %d of 20 commands were done", trusted, len(r.deeds))
			}
			for i := range 600 { // more than the ids that are remembered
				r.say("command", false, fmt.Sprintf(`{"id":"p%d","name":"ping"}`, i))
			}
			for i := range n {
				envelope := recorded[i%len(recorded)]
				if i%3 == 0 {
					envelope = strings.Replace(envelope, `"id":"c`, `"id":"d`+strconv.Itoa(i), 1)
				}
				if r.say("command", false, envelope); i%10 == 0 {
					r.pass(100 * time.Millisecond)
				}
				if i == n/2 {
					r.crash()
					r.start()
				}
			}
			if trusted {
				r.pass(24 * time.Hour) // by now the commands have expired
			}
			r.say("command", false, recorded[3])
			if r.pass(time.Second); len(r.deeds) != 20 {
				t.Errorf("trusted %v: done %d times over", trusted, len(r.deeds)-20)
			}
		})
	}
}

func TestAnUntrustedClockNeedsAnUnbrokenSequence(t *testing.T) {
	live(t, func(r *rig) {
		r.clock.untrusted.Store(true)
		r.start()
		for _, tt := range []struct {
			envelope string
			deeds    int
		}{
			{restart("a", 4, ""), 0}, // nothing is known of anna
			{`{"id":"b","issuer":"anna","seq":5,"name":"ping"}`, 0},
			{restart("c", 7, ""), 0}, // 6 is missing
			{restart("d", 6, "2000-01-01T00:00:00Z"), 1},
			{restart("e", 6, ""), 1},
			{restart("f", 7, ""), 2},
		} {
			r.say("command", false, tt.envelope)
			if r.pass(time.Second); len(r.deeds) != tt.deeds {
				t.Errorf("after %s: %d deeds, want %d", tt.envelope, len(r.deeds), tt.deeds)
			}
		}
	})
}

func TestADamagedLedgerStopsWhatIsDestructive(t *testing.T) {
	for _, damage := range []string{`{"seen":`, `{"issuers":{"anna":null}}`} {
		live(t, func(r *rig) {
			if err := r.disk.Files("state").WriteFile("commands.json", []byte(damage)); err != nil {
				t.Fatal(err)
			}
			r.start()
			r.say("command", false, restart("c", 1, soon()))
			r.say("command", false, `{"id":"p","name":"ping"}`)
			r.pass(time.Second)
			if len(r.deeds) > 0 || len(r.result("c")) != 1 || r.result("p")[0]["ok"] != true || r.status().Problems["commands"] == "" {
				t.Errorf("deeds %v, answers %v, %v", r.deeds, r.result("c"), r.result("p"))
			}
		})
	}
}

func TestABurstOfCommandsIsAnsweredToTheLast(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.broker.Delay(time.Second)
		for i := range 30 {
			r.say("command", false, fmt.Sprintf(`{"id":"p%d","name":"ping"}`, i))
		}
		r.pass(20 * time.Second)
		r.broker.Cut(device)
		r.pass(time.Minute)
		for i := range 30 {
			if n := len(r.result(fmt.Sprintf("p%d", i))); n < 1 || n > 2 {
				t.Errorf("p%d: %d answers", i, n)
			}
		}
	})
}

func TestTheLedgerSurvivesAPowerCutAtAnyMoment(t *testing.T) {
	disk := sim.NewDisk(3)
	ledger, err := agent.OpenLedger(disk.Files("state"))
	if err != nil {
		t.Fatal(err)
	}
	var sure []string
	states := 0
	disk.Watch(func() {
		for left := range disk.CrashStates() {
			states++
			l, err := agent.OpenLedger(left.Files("state"))
			if err != nil {
				t.Fatalf("after a cut: %v", err)
			}
			for i, id := range sure {
				if _, _, seen := l.Seen(id); !seen {
					t.Fatalf("after a cut: %s is forgotten", id)
				}
				if fresh, _ := l.InOrder("anna", uint64(i+1)); fresh {
					t.Fatalf("after a cut: number %d may be used again", i+1)
				}
			}
		}
	})
	for i := range 12 {
		id := fmt.Sprintf("c%d", i)
		if err := ledger.Begin(id, "anna", uint64(i+1)); err != nil {
			t.Fatal(err)
		}
		sure = append(sure, id)
		if err := ledger.Finish(id, "done", `{"id":"`+id+`","ok":true}`); err != nil {
			t.Fatal(err)
		}
	}
	if states < 500 {
		t.Errorf("only %d states", states)
	}
}

func TestTheLedgerKnowsSequencesAndForgetsTheSilent(t *testing.T) {
	l, err := agent.OpenLedger(sim.NewDisk(1).Files("state"))
	if err != nil {
		t.Fatal(err)
	}
	begin := func(id, issuer string, seq uint64) {
		if err := l.Begin(id, issuer, seq); err != nil {
			t.Fatal(err)
		}
	}
	begin("a", "anna", 100)
	begin("b", "anna", 102)
	for _, tt := range []struct {
		seq         uint64
		fresh, next bool
	}{
		{100, false, false}, {101, true, false}, {102, false, false}, {103, true, true}, {104, true, false}, {39, true, false}, {38, false, false},
		{1, false, false}, {1<<64 - 1, true, false},
	} {
		if fresh, next := l.InOrder("anna", tt.seq); fresh != tt.fresh || next != tt.next {
			t.Errorf("number %d after 102: fresh %v, next %v", tt.seq, fresh, next)
		}
	}
	begin("c", "anna", 101)
	if fresh, _ := l.InOrder("anna", 101); fresh {
		t.Error("a late number may be used twice")
	}
	begin("d", "anna", 1000)
	if fresh, _ := l.InOrder("anna", 999); !fresh {
		t.Error("a number just behind a jump is not fresh")
	}
	for i := range 16 {
		begin(fmt.Sprintf("e%d", i), fmt.Sprintf("bot%d", i), 1)
	}
	if fresh, next := l.InOrder("bot0", 1); fresh || next {
		t.Error("bot0 is forgotten before anna")
	}
	if fresh, _ := l.InOrder("anna", 1000); !fresh {
		t.Error("anna, silent longest, is not forgotten")
	}
	for i := range 520 {
		begin(fmt.Sprintf("f%d", i), "", 0)
	}
	if _, _, seen := l.Seen("a"); seen {
		t.Error("more than 512 ids are remembered")
	}
	if _, _, seen := l.Seen("f8"); !seen {
		t.Error("one of the last 512 ids is forgotten")
	}
}

func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		`{"id":"3f9a","issuer":"anna","seq":17,"expires":"2026-05-01T12:01:00Z","name":"relay.set","args":{"name":"pump","on":true}}`,
		`{"id":"p","name":"ping"}`, `{"id":"p","name":"ping","args":null}`, `{"id":"x","seq":-1}`, `{"id":"a","id":"b"}`, `[]`, ``,
		`{"id":"c","issuer":"anna","seq":18446744073709551615,"name":"restart","args":{"unit":"\u0000"}}`,
	} {
		f.Add([]byte(seed))
	}
	a := fuzzAgent(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		id, name, err := a.Check(raw)
		if err == nil && (id == "" || len(id) > 64 || name == "" || len(raw) > 8<<10) {
			t.Errorf("%q passes as %q %q", raw, id, name)
		}
	})
}

func TestWhenThereAreTooManyAnswersTheOldestGo(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.broker.Delay(10 * time.Second)
		for i := range 40 {
			r.say("command", false, fmt.Sprintf(`{"id":"p%d","name":"ping"}`, i))
			r.pass(10 * time.Millisecond)
		}
		r.pass(10 * time.Minute)
		for i := 8; i < 40; i++ { // 32 are kept
			if n := len(r.result(fmt.Sprintf("p%d", i))); n != 1 {
				t.Errorf("p%d: %d answers", i, n)
			}
		}
	})
}
