package habit_test

import (
	"math"
	"testing"
	"time"

	"holdfast/remediate/habit"
)

const day = 24 * time.Hour

// watch runs a machine until a time, and returns how often which measure became unusual.
func watch(b *habit.Book, m *machine, until time.Duration, trusted bool, change func(*machine)) map[string]int {
	began, odd := map[string]int{}, map[string]bool{}
	for m.at < until {
		m.next()
		if change != nil {
			change(m)
		}
		b.Add(m.at, m.start.Add(m.at), trusted, m.row[:])
		now := b.Unusual()
		if len(now) == 0 && len(odd) == 0 {
			continue
		}
		is := map[string]bool{}
		for _, o := range now {
			if is[o.Name] = true; !odd[o.Name] {
				began[o.Name]++
			}
		}
		odd = is
	}
	return began
}

func TestNothingIsSaidBeforeHabitsAreKnown(t *testing.T) {
	for trusted, learning := range map[bool]time.Duration{true: habit.LearnSeason, false: habit.LearnAlone} {
		wrong := func(m *machine) {
			if m.at > learning-day {
				m.row[celsius] += 30
			}
		}
		if n := watch(habit.New(names), newMachine(3), learning-5*time.Hour, trusted, wrong); len(n) > 0 {
			t.Errorf("clock trusted: %t: while learning: %v", trusted, n)
		}
	}
}

// What stays is the new usual, in days and not in hours.
func TestNewUsualIsLearnedInDays(t *testing.T) {
	m, b := newMachine(5), habit.New(names)
	watch(b, m, 14*day, true, nil)
	hotter := func(m *machine) { m.row[celsius] += 20 }
	if watch(b, m, 15*day, true, hotter); len(b.Unusual()) != 1 {
		t.Errorf("a day later: %v", b.Unusual())
	}
	watch(b, m, 21*day, true, hotter)
	if n := watch(b, m, 28*day, true, hotter); len(n) > 0 || len(b.Unusual()) > 0 {
		t.Errorf("a week later: %v, %v", n, b.Unusual())
	}
}

func TestMissingValuesAreNothing(t *testing.T) {
	m, b := newMachine(9), habit.New(names)
	lose := func(m *machine) {
		for i := range m.row {
			switch {
			case m.unit() < 0.3:
				m.row[i] = float32(math.NaN())
			case m.unit() < 0.01:
				m.row[i] = float32(math.Inf(1))
			}
		}
		if hour := m.start.Add(m.at).Hour(); hour == 4 || hour == 5 {
			m.row[celsius] = float32(math.NaN())
		}
	}
	if n := watch(b, m, 21*day, true, lose); len(n) > 0 {
		t.Errorf("unusual: %v", n)
	}
	for _, row := range [][]float32{nil, {20}, append(m.row[:], 1, 2, 3)} {
		b.Add(m.at, m.start.Add(m.at), true, row)
	}
	at := m.at
	watch(b, m, at+15*time.Minute, true, func(m *machine) { m.row[celsius] += 20 })
	if len(b.Unusual()) != 1 {
		t.Errorf("a shift: %v", b.Unusual())
	}
	watch(b, m, at+30*time.Minute, true, func(m *machine) { m.row[celsius] = float32(math.NaN()) })
	if len(b.Unusual()) != 0 {
		t.Errorf("a measure that is gone: %v", b.Unusual())
	}
}

// After a start there is no just before: a quarter of an hour nothing is said, and a level that differs then is none that changed.
func TestNothingIsSaidRightAfterAStart(t *testing.T) {
	m, b := newMachine(4), habit.New(names)
	watch(b, m, 14*day, true, nil)
	gone := 10 * day
	m.start, m.at = m.start.Add(m.at), 0 // the monotonic clock begins anew
	hotter := func(m *machine) { m.row[memory] += 20 }
	if n := watch(b, m, 14*time.Minute, true, func(m *machine) { m.row[celsius] += 50 }); len(n) > 0 {
		t.Errorf("in the first minutes: %v", n)
	}
	m.at += gone
	if n := watch(b, m, gone+day, true, hotter); len(n) > 0 {
		t.Errorf("another level after a gap: %v", n)
	}
}

func TestTheWorstComeFirst(t *testing.T) {
	m, b := newMachine(2), habit.New(names)
	watch(b, m, 14*day, true, nil)
	watch(b, m, 14*day+10*time.Minute, true, func(m *machine) {
		m.row[celsius] += 20
		m.row[memory] += 100
		m.row[still] += 8
		m.row[faults] += 50
		m.row[disk] += 400
	})
	got := b.Unusual()
	t.Log(got)
	if len(got) != 3 || got[0].Score < got[1].Score || got[1].Score < got[2].Score || got[2].Score < 1 {
		t.Fatalf("%v", got)
	}
	for _, o := range got {
		if o.Name == "still" || o.Name == "celsius" || o.Value <= o.Usual {
			t.Errorf("%+v", o)
		}
	}
}

func TestExtremeValuesAreBorne(t *testing.T) {
	b := habit.New([]string{"x"})
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	values := []float32{math.MaxFloat32, -math.MaxFloat32, 0, math.SmallestNonzeroFloat32}
	for i := range 20 * 1440 {
		at := time.Duration(i) * time.Minute
		b.Add(at, now.Add(at), true, values[i*i%7%4:])
		for _, o := range b.Unusual() {
			if !(o.Score >= 1 && o.Score < 1000) || o.Value-o.Value != 0 || o.Usual-o.Usual != 0 {
				t.Fatalf("%+v", o)
			}
		}
	}
	if err := habit.New([]string{"x"}).Decode(b.Encode()); err != nil {
		t.Error(err)
	}
	for _, at := range []time.Duration{math.MaxInt64, math.MinInt64, -1, 0} {
		b.Add(at, time.Time{}, true, values)
		b.Add(at, time.Unix(math.MaxInt64, 0), true, values)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	m, b := newMachine(1), habit.New(names)
	wrong := func(m *machine) { m.row[celsius] += 20 }
	watch(b, m, 14*day, true, nil)
	watch(b, m, 14*day+10*time.Minute, true, wrong)
	if n := testing.AllocsPerRun(1000, func() {
		m.at += time.Minute
		m.row[celsius] = 70
		b.Add(m.at, m.start.Add(m.at), true, m.row[:])
		if len(b.Unusual()) == 0 {
			t.Fatal("nothing is unusual")
		}
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	list := make([]string, 20)
	for i := range list {
		list[i] = names[i%kinds] + string(rune('a'+i))
	}
	book, row := habit.New(list), make([]float32, 20)
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	var at time.Duration
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at += time.Second
		row[i%20] = float32(i % 17)
		book.Add(at, now.Add(at), true, row)
		book.Unusual()
	}
}
