package habit_test

import (
	"math"
	"testing"
	"time"

	"holdfast/remediate/habit"
)

func is(b *habit.Book, name string) bool {
	for _, o := range b.Unusual() {
		if o.Name == name {
			return true
		}
	}
	return false
}

// A measure that was away for hours has no just before, while the others have theirs.
func TestMeasureThatComesBackMayBeElsewhere(t *testing.T) {
	m, b := newMachine(8), habit.New(names)
	watch(b, m, 14*day, true, nil)
	watch(b, m, 14*day+day/12, true, func(m *machine) { m.row[memory] = float32(math.NaN()) })
	higher := func(m *machine) {
		if m.row[memory] += 40; is(b, "memory") {
			t.Fatalf("unusual after %v", m.at-14*day)
		}
	}
	watch(b, m, 14*day+day/4, true, higher)
}

// One reading that is far too large does not make a measure blind.
func TestGlitchIsForgotten(t *testing.T) {
	m, b := newMachine(8), habit.New(names)
	watch(b, m, 6*day, true, nil)
	watch(b, m, 6*day+step, true, func(m *machine) { m.row[celsius] = 1e9 })
	watch(b, m, 28*day, true, nil)
	watch(b, m, 28*day+day/144, true, func(m *machine) { m.row[celsius] += 20 })
	if !is(b, "celsius") {
		t.Errorf("a shift, three weeks after a glitch: %v", b.Unusual())
	}
}

// What happens every day is usual after days of it, and unusual again when it has not happened for months.
func TestWhatHappensEveryDayIsUsualForATime(t *testing.T) {
	m, b := newMachine(8), habit.New(names)
	alarms := func(from, days int) (n int) {
		for d := range days {
			watch(b, m, day*time.Duration(from+d)-day/144, true, nil)
			n += watch(b, m, day*time.Duration(from+d), true, func(m *machine) { m.row[still] += 20 })["still"]
		}
		return n
	}
	watch(b, m, 5*day, true, nil)
	if n := alarms(6, 7); n == 0 {
		t.Error("nothing was unusual in the first week")
	}
	alarms(13, 14)
	if n := alarms(27, 7); n != 0 {
		t.Errorf("%d times unusual after three weeks", n)
	}
	watch(b, m, 150*day, true, nil)
	if n := alarms(151, 1); n != 1 {
		t.Errorf("%d times unusual after months without", n)
	}
}

// Without a clock there is only just before, which follows a fault slowly.
func TestFaultIsUsualAfterHoursWhereThereIsNoClock(t *testing.T) {
	m, b := newMachine(8), habit.New(names)
	watch(b, m, 14*day, false, nil)
	higher := func(m *machine) { m.row[memory] += 40 }
	if watch(b, m, 14*day+2*time.Hour, false, higher); !is(b, "memory") {
		t.Error("as usual after two hours")
	}
	if watch(b, m, 15*day, false, higher); is(b, "memory") {
		t.Error("unusual after a day")
	}
}
