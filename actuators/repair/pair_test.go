package repair_test

import (
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/collectors"
	"holdfast/remediate"
	"holdfast/remediate/ladder"
)

const pairRules = `@name('leak') @repair('mem_leak') select unit from UnitState(memory_bytes > 100);
@name('tight') @clear('leak') select unit from UnitState(memory_bytes < 50)`

const pairBook = `fault='mem_leak'
help='a unit takes memory without end'
precondition='select unit from UnitState(memory_bytes > 100)'
symptom='select unit from UnitState(memory_bytes > 100)'
per_hour=20
per_day=100
[[rung]]
name='restart'
do='unit.restart'
args={unit='{unit}'}
undo={do='script',args={name='note'}}
[[rung]]
name='reboot'
do='reboot'
settle='30s'
`

// A pair is the agent's side of a repair and the warden's, on one machine.
type pair struct {
	dayOf
	rules   *remediate.Rules
	pending *remediate.Ask
	sick    bool
	calm    bool
	restart time.Duration // when the machine goes, as was asked
}

// Whatever crashes, is cut off, lost or late on either side, both agree in the end: no repair is for ever under way, the limits hold, and
// what is sick later is repaired again.
func TestTheAgentAndTheWardenAgreeAgainAfterAnyCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	cuts, reboots := 0, 0
	for i := range uint64(12) {
		p := &pair{dayOf: dayOf{t: t, rng: rand.New(rand.NewPCG(seed, i)), rig: newRig(t, pairBook)}, sick: true}
		p.until(4 * time.Hour)
		p.calm, p.sick = true, false
		p.until(p.m.true_ + 3*time.Hour)
		status := p.must("repair.status", nil)
		if under, is := status["under_way"].(map[string]any); is && under["left_seconds"] != 0.0 || p.rules.Standing().Repairs.Step != "" {
			t.Errorf("life %d: nothing is wrong, and there is under way %v, at the agent %+v", i, status["under_way"], p.rules.Standing().Repairs)
		}
		did := len(p.did)
		p.sick = true
		p.until(p.m.true_ + 25*time.Hour)
		if len(p.did) == did {
			t.Errorf("life %d: nothing is repaired any more: %+v", i, p.rules.Standing().Repairs)
		}
		first, hour, day := p.most()
		if first > 3 || hour > 3 || day > 10 {
			t.Errorf("life %d: %d reboots in an hour, %d in a day", i, hour, day)
		}
		cuts, reboots = cuts+p.cuts, reboots+len(p.reboots)
	}
	t.Logf("%d power cuts, %d reboots", cuts, reboots)
	if cuts < 12 || reboots < 12 {
		t.Errorf("%d power cuts, %d reboots: too quiet to show anything", cuts, reboots)
	}
}

// until lets the machine live, through as many starts as it takes.
func (p *pair) until(end time.Duration) {
	for p.m.true_ < end {
		if p.rules == nil || p.restart != 0 || p.cut != nil {
			p.boot()
			p.m.wall, p.m.trusted = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(p.m.true_), true
			p.restart, p.rules = 0, nil
		}
		p.awake(end)
		if p.cut != nil {
			p.disk, p.cuts = p.cut, p.cuts+1
		}
		p.m.pass(time.Duration(5+p.rng.IntN(40)) * time.Second)
	}
}

func (p *pair) awake(end time.Duration) {
	defer func() {
		p.disk.Watch(nil)
		if r := recover(); r != nil && r != errPower {
			panic(r)
		}
	}()
	if p.cut = nil; !p.calm && p.rng.IntN(2) == 0 {
		p.arm()
	}
	if p.rules == nil {
		p.start()
		p.run()
		_, _ = p.ask("boot.began", nil)
		_, _ = p.ask("safe.leave", nil) // this test is about repairs
	}
	for p.m.true_ < end && (p.restart == 0 || p.m.true_ < p.restart) {
		p.m.pass(5 * time.Second)
		p.round()
		switch p.rng.IntN(400) {
		case 0:
			p.start()
		case 1:
			if !p.calm {
				p.run() // it crashed
			}
		case 2:
			p.sick = p.sick && p.rng.IntN(2) == 0 && !p.calm || p.calm && p.sick
		}
		if p.pending != nil {
			p.answer()
		}
	}
}

func (p *pair) round() {
	bytes := 20.0
	if p.sick {
		bytes = 200
	}
	s := collectors.Sample{Source: "units", Instance: "app.service", Time: p.m.wall}
	p.rules.Sample(s.Num("memory_bytes", bytes))
	p.rules.Round()
	p.rules.Tick()
}

// run starts the agent.
func (p *pair) run() {
	p.pending = nil
	if !p.calm && p.rng.IntN(8) == 0 { // what it knew is lost
		_ = p.disk.Files("state").WriteFile("repair.json", []byte("{"))
	}
	p.rules = remediate.New(remediate.Options{Device: "pump", Clock: p.m, Files: p.disk.Files("state"), Log: slog.New(slog.DiscardHandler),
		Ask:   func(a remediate.Ask) { p.pending = &a },
		Limit: func(string) (float64, bool) { return 0, false }, Event: func(string, map[string]any) {}})
	book, err := ladder.Parse("p0.toml", []byte(pairBook))
	if err == nil {
		err = p.rules.Load([]remediate.File{{Name: "leak.epl", Text: pairRules}}, nil)
	}
	if err == nil {
		err = p.rules.Playbooks(ladder.Shelf{book.Fault: book}, nil)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// answer does what was asked, or not, and says so, or not.
func (p *pair) answer() {
	a, fate := *p.pending, p.rng.IntN(12)
	if p.pending = nil; p.calm {
		fate = 11
	}
	if fate == 0 {
		p.rules.Answered(nil, remediate.ErrNotAsked)
		return
	}
	if fate == 1 {
		p.rules.Answered(nil, remediate.ErrLost)
		return
	}
	did := len(p.did)
	raw, err := json.Marshal(a.Args)
	args := actuators.Args{}
	if err == nil {
		err = json.Unmarshal(raw, &args)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	result, err := p.ask(a.Verb, args)
	for _, deed := range p.did[did:] {
		if strings.HasPrefix(deed, "reboot") {
			p.reboots = append(p.reboots, p.m.true_)
			p.restart = p.m.true_ + time.Duration(1+p.rng.IntN(20))*time.Second
		}
		p.sick = p.sick && p.rng.IntN(4) > 0
	}
	switch fate {
	case 2:
		p.rules.Answered(nil, remediate.ErrLost)
	case 3:
		p.run()
	default:
		p.rules.Answered(result, err)
	}
	if !p.sick && p.rng.IntN(2) == 0 && !p.calm {
		p.sick = true
	}
}
