package repair_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/board/sim"
)

const always = `fault='net_down'
help='Its symptom never goes.'
symptom='select * from Memory'
per_hour=20
per_day=100
[[rung]]
name='reboot'
do='reboot'
settle='0s'
`

// A playbook whose symptom never goes, asked as often as can be: it reboots at most three times in any hour and ten times in
// any day, however the power is cut, whatever the clock says after a boot, and however the agent and the warden start again.
func TestAPlaybookThatAlwaysFiresRebootsThriceAnHourAndTenTimesADay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	const days = 8
	var first, hour, day, all, cuts, lost int
	for i := range uint64(days) {
		d := &dayOf{t: t, rng: rand.New(rand.NewPCG(seed, i)), rig: newRig(t, always)}
		d.live()
		f, h, n := d.most()
		first, hour, day, all, cuts, lost = max(first, f), max(hour, h), max(day, n), all+len(d.reboots), cuts+d.cuts, lost+d.lost
		t.Logf("day %2d: %2d reboots, %d in the first hour, at most %d in an hour and %d in a day; %d power cuts, %d of %d boots without a clock",
			i+1, len(d.reboots), f, h, n, d.cuts, d.lost, d.m.boots)
	}
	t.Logf("most of %d simulated days: %d reboots in the first hour, %d in any hour, %d in any day; %d power cuts, %d boots without a clock", days, first, hour, day, cuts, lost)
	if first > 3 || hour > 3 || day > 10 {
		t.Errorf("%d reboots in the first hour, %d in an hour, %d in a day: at most 3, 3 and 10", first, hour, day)
	}
	if cuts < days*10 || lost < days*4 || all < days*3 {
		t.Errorf("%d cuts, %d boots without a clock, %d reboots: the days are too quiet to show anything", cuts, lost, all)
	}
}

// A dayOf is one simulated day.
type dayOf struct {
	t   *testing.T
	rng *rand.Rand
	*rig
	reboots    []time.Duration // in true time
	cuts, lost int
	cut        *sim.Disk // what the cut that is to come leaves
}

var errPower = errors.New("power cut")

// live lets a day pass: the agent starts with the machine, asks for the next rung whenever it may, and is cut off.
func (d *dayOf) live() {
	for d.m.true_ < 26*time.Hour {
		d.boot()
		d.life()
		if d.cut != nil {
			d.disk, d.cut = d.cut, nil
			d.cuts++
		}
		d.m.pass(time.Duration(5+d.rng.IntN(60)) * time.Second) // the start of the machine, or its being off
		if d.rng.IntN(20) == 0 {
			d.m.pass(time.Duration(d.rng.IntN(90)) * time.Minute)
		}
	}
}

// boot starts the machine with a clock that may show anything until somebody sets it.
func (d *dayOf) boot() {
	d.m.boot()
	d.m.wall, d.m.trusted = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(d.m.true_), true
	switch d.rng.IntN(4) {
	case 0:
		d.m.wall, d.m.trusted = time.Unix(0, 0), false
	case 1:
		d.m.wall, d.m.trusted = d.m.wall.AddDate(20, 0, 0), false
	}
	if !d.m.trusted {
		d.lost++
	}
}

// life is what happens between two starts of the machine.
func (d *dayOf) life() {
	defer func() {
		d.disk.Watch(nil)
		if r := recover(); r != nil && r != errPower {
			panic(r)
		}
	}()
	d.arm()
	d.start()
	_, _ = d.ask("boot.began", nil)
	if d.rng.IntN(2) == 0 { // no loop: this test is about the limits
		_, _ = d.ask("boot.ended", nil)
	}
	for d.m.true_ < 26*time.Hour {
		_, _ = d.ask("safe.leave", nil)
		if u, err := d.ask("repair.status", nil); err == nil && u["under_way"] != nil {
			_, _ = d.ask("repair.end", actuators.Args{"fault": "net_down", "rung": 0.0, "helped": d.rng.IntN(2) == 0})
		}
		before := len(d.did)
		if _, _ = d.step("net_down", 0, ""); len(d.did) > before {
			d.reboots = append(d.reboots, d.m.true_)
			return
		}
		d.m.pass(time.Duration(1+d.rng.IntN(150)) * time.Second)
		switch d.rng.IntN(40) {
		case 0:
			d.start() // the warden was idle, and is started again
		case 1:
			if !d.m.trusted { // somebody sets the clock
				d.m.wall, d.m.trusted = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(d.m.true_), true
			}
		}
	}
}

// arm has the power cut after a random operation of this life: the disk is then any of the states that the cut may leave.
func (d *dayOf) arm() {
	left := d.rng.IntN(40)
	d.disk.Watch(func() {
		if left--; left > 0 {
			return
		}
		seen := 0
		for state := range d.disk.CrashStates() {
			if seen++; d.rng.IntN(seen) == 0 { // each is as likely as another
				d.cut = state
			}
		}
		panic(errPower)
	})
}

// most returns how many reboots there were in the first hour after the first one, in any hour, and in any day.
func (d *dayOf) most() (first, hour, day int) {
	for i, at := range d.reboots {
		h, n := 0, 0
		for _, other := range d.reboots[i:] {
			if other-at < time.Hour {
				h++
			}
			if other-at < 24*time.Hour {
				n++
			}
		}
		if i == 0 {
			first = h
		}
		hour, day = max(hour, h), max(day, n)
	}
	return first, hour, day
}
