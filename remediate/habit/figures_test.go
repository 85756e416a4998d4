//go:build !race

package habit_test

import (
	"slices"
	"testing"
	"time"

	"holdfast/remediate/habit"
)

func TestHabitsAreUsual(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		all, n := map[string]int{}, 0
		for seed := range uint64(20) {
			for name, k := range watch(habit.New(names), newMachine(seed+1), 28*day, trusted, nil) {
				all[name] += k
				n += k
			}
		}
		t.Logf("clock trusted: %t: in 20 times 28 days of %d measures %d became unusual for no reason: %v", trusted, kinds, n, all)
		if n > 1 {
			t.Errorf("clock trusted: %t: %d false: wants at most 1", trusted, n)
		}
	}
}

// add returns a change of a measure that depends on the hours since it began.
func add(kind int, f func(hours float64) float64) func(*machine, time.Duration) {
	return func(m *machine, since time.Duration) { m.row[kind] += float32(f(since.Hours())) }
}

func by(x float64) func(float64) float64 { return func(float64) float64 { return x } }

func sway(x float64) func(float64) float64 {
	return func(hours float64) float64 { return x * float64(1-2*(int(hours*60)%2)) }
}

// After two weeks something is wrong for a day. It is seen, and not learned meanwhile; when it is over, that is seen as well.
func TestWhatIsWrongIsUnusual(t *testing.T) {
	const seeds = 10
	for _, tt := range []struct {
		name    string
		kind    int
		trusted bool
		change  func(*machine, time.Duration)
		within  time.Duration // in which most have to be seen
		atLeast int           // of seeds
		lasts   bool          // until it is over
	}{
		{"shift of 20 degrees", celsius, true, add(celsius, by(20)), 10 * time.Minute, seeds, true},
		{"shift of 20 degrees, no clock", celsius, false, add(celsius, by(20)), 10 * time.Minute, seeds, false},
		{"fall of 20 degrees", celsius, true, add(celsius, by(-20)), 10 * time.Minute, seeds, true},
		{"memory up by a fifth", memory, true, add(memory, by(40)), 10 * time.Minute, seeds, true},
		{"memory up by a fifth, no clock", memory, false, add(memory, by(40)), 10 * time.Minute, seeds, false},
		{"a constant that is another", still, true, add(still, by(8)), 10 * time.Minute, seeds, true},
		{"errors all the time", faults, true, add(faults, by(5)), 10 * time.Minute, seeds, true},
		{"the office by night", office, true, add(office, by(60)), 14 * time.Hour, seeds, false},
		{"an upload without end", traffic, true, add(traffic, by(500_000)), 2 * time.Hour, seeds, false},
		{"all of the processor", load, true, func(m *machine, _ time.Duration) { m.row[load] = 100 }, 10 * time.Minute, 8, false},
		{"memory leaks 5 an hour", memory, true, add(memory, func(h float64) float64 { return 5 * h }), 20 * time.Hour, seeds, true},
		{"temperature up and down", celsius, true, add(celsius, sway(9)), 30 * time.Minute, 8, false},
		{"temperature up and down, no clock", celsius, false, add(celsius, sway(9)), 30 * time.Minute, 8, false},
		{"nothing", celsius, true, add(celsius, by(0)), day, 0, false},
		{"a little more of what is constant", still, true, add(still, by(2)), day, 0, false},
	} {
		var times []time.Duration
		lasted, after := 0, time.Duration(0)
		for seed := range uint64(seeds) {
			m, b := newMachine(7*seed+7), habit.New(names)
			is := func() bool {
				return slices.ContainsFunc(b.Unusual(), func(o habit.Odd) bool { return o.Name == names[tt.kind] })
			}
			watch(b, m, 14*day, tt.trusted, nil)
			began, first := m.at, day
			watch(b, m, began+day, tt.trusted, func(m *machine) {
				if tt.change(m, m.at-began); is() {
					first = min(first, m.at-began)
				}
			})
			if first < day {
				times = append(times, first)
			}
			if is() {
				lasted++
			}
			for over := m.at; tt.lasts && is() && m.at < over+day; after = max(after, m.at-over) {
				watch(b, m, m.at+step, tt.trusted, nil)
			}
		}
		slices.Sort(times)
		soon := 0
		for _, d := range times {
			if d <= tt.within {
				soon++
			}
		}
		t.Logf("%-35s seen in %2d of %d, lasts in %2d, as usual %v after its end: %v", tt.name, len(times), seeds, lasted, after, times)
		if soon < tt.atLeast || tt.atLeast == 0 && len(times) > 0 {
			t.Errorf("%s: seen %d times within %v: wants %d", tt.name, soon, tt.within, tt.atLeast)
		}
		if tt.lasts && (lasted < seeds-1 || after > 15*time.Minute) {
			t.Errorf("%s: lasts in %d of %d to the end, and %v longer", tt.name, lasted, seeds, after)
		}
	}
}

func TestClockThatWasWrongMakesNothingUnusual(t *testing.T) {
	total := 0
	for seed := range uint64(10) {
		m, b := newMachine(seed+50), habit.New(names)
		m.start = m.start.Add(11 * time.Hour)
		run := func(until time.Duration, wrongBy time.Duration, trusted bool) (n int) {
			for m.at < until {
				m.next()
				before := len(b.Unusual())
				b.Add(m.at, m.start.Add(m.at).Add(wrongBy), trusted, m.row[:])
				if len(b.Unusual()) > before {
					n++
				}
			}
			return n
		}
		total += run(10*day, 11*time.Hour, true)        // wrong by half a day
		total += run(17*day, 0, true)                   // and put right
		total += run(17*day+time.Hour, -day*5000, true) // 2010, for an hour
		total += run(20*day, 0, false)
		total += run(27*day, 20*time.Minute, true)
		at := m.at
		watch(b, m, at+10*time.Minute, true, func(m *machine) { m.row[celsius] += 20 })
		if o := b.Unusual(); len(o) != 1 || o[0].Name != "celsius" {
			t.Errorf("seed %d: a shift after the clock was set: %v", seed, o)
		}
	}
	t.Logf("clocks that jump: in 10 times 27 days %d measures became unusual for no reason", total)
	if total > 1 {
		t.Errorf("%d false: wants at most 1", total)
	}
}
