package boardtest

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"holdfast/board"
)

// A Machine is a switch under test with the machine around it. It starts in slot a, which is good, with nothing armed.
type Machine struct {
	Boot board.Boot // the running system's; it may be another after each Restart
	// Restart ends the running system and plays the machine's start until a system runs, or says why none does.
	Restart func() error
	// Cuts has the deed done to this machine and yields machines as a power cut at some moment of it may leave them, without
	// power: Restart comes first. Between them they cover every write. The deed may be a Restart. It is nil where the
	// power cannot be cut, and in machines that were cut often enough.
	Cuts func(deed func()) iter.Seq[*Machine]
	// Forgets says that a power cut takes back what is armed: the bootloader is told by a warm restart, and by nothing else.
	Forgets bool
	// Garble makes what the bootloader keeps unreadable. Nil where that cannot be done.
	Garble func()
}

// A move is one thing that happens to a machine.
type move struct {
	name string
	do   func(*Machine) error
}

var (
	arm = move{"arm", func(m *Machine) error {
		f, err := m.Boot.Facts()
		if err != nil {
			return err
		}
		return m.Boot.Arm(f.Booted.Other())
	}}
	disarm  = move{"disarm", func(m *Machine) error { return m.Boot.Disarm() }}
	commit  = move{"commit", func(m *Machine) error { return m.Boot.Commit() }}
	restart = move{"restart", func(m *Machine) error { return m.Restart() }}
)

// state is what a switch says, short: booted, then next.
type state string

func look(m *Machine) (state, error) {
	f, err := m.Boot.Facts()
	return state(f.Booted + f.Next), err
}

// situations are ways through the contract, and what the switch says at their end.
var situations = []struct {
	moves []move
	want  state
}{
	{nil, "aa"},
	{[]move{restart}, "aa"},
	{[]move{commit}, "aa"},
	{[]move{disarm}, "aa"},
	{[]move{disarm, restart}, "aa"},
	{[]move{arm}, "ab"},
	{[]move{arm, commit}, "aa"},
	{[]move{arm, commit, restart}, "aa"},
	{[]move{arm, disarm}, "aa"},
	{[]move{arm, disarm, restart}, "aa"},
	{[]move{arm, disarm, arm, restart}, "ba"},
	{[]move{arm, restart}, "ba"},
	{[]move{arm, restart, disarm}, "ba"},
	{[]move{arm, restart, disarm, restart}, "aa"},
	{[]move{arm, restart, disarm, commit}, "bb"},
	{[]move{arm, restart, restart}, "aa"},
	{[]move{arm, restart, restart, restart}, "aa"},
	{[]move{arm, restart, restart, commit, restart}, "aa"},
	{[]move{arm, restart, restart, disarm, restart}, "aa"},
	{[]move{arm, restart, restart, arm, restart}, "ba"},
	{[]move{arm, restart, restart, arm, restart, commit}, "bb"},
	{[]move{arm, restart, commit}, "bb"},
	{[]move{arm, restart, commit, restart}, "bb"},
	{[]move{arm, restart, commit, disarm, restart}, "bb"},
	{[]move{arm, restart, commit, restart, commit, restart, commit, restart}, "bb"},
	{[]move{arm, restart, commit, arm}, "ba"},
	{[]move{arm, restart, commit, arm, restart}, "ab"},
	{[]move{arm, restart, commit, arm, restart, restart}, "bb"},
	{[]move{arm, restart, commit, arm, restart, commit, restart}, "aa"},
}

func names(moves []move) string {
	if len(moves) == 0 {
		return "as it was made"
	}
	var words []string
	for _, m := range moves {
		words = append(words, m.name)
	}
	return strings.Join(words, ", ")
}

// play makes the moves on a new machine and returns it with what its switch says then.
func play(t *testing.T, open func(*testing.T) *Machine, moves ...move) (*Machine, state) {
	t.Helper()
	m := open(t)
	for i, mv := range moves {
		if err := mv.do(m); err != nil {
			t.Fatalf("%s: %v", names(moves[:i+1]), err)
		}
	}
	s, err := look(m)
	if err != nil {
		t.Fatalf("%s: %v", names(moves), err)
	}
	return m, s
}

// TestBoot is the contract of board.Boot. open makes a new machine.
func TestBoot(t *testing.T, open func(t *testing.T) *Machine) {
	for _, tt := range situations {
		t.Run(names(tt.moves), func(t *testing.T) {
			if _, got := play(t, open, tt.moves...); got != tt.want {
				t.Errorf("booted and next: %s, want %s", got, tt.want)
			}
			var twice []move
			for _, mv := range tt.moves {
				twice = append(twice, mv)
				if mv.name != restart.name {
					twice = append(twice, mv)
				}
			}
			if _, got := play(t, open, twice...); got != tt.want {
				t.Errorf("every call twice: %s, want %s", got, tt.want)
			}
		})
	}
	t.Run("only the other slot can be armed", func(t *testing.T) {
		for _, moves := range [][]move{nil, {arm}, {arm, restart}, {arm, restart, commit}} {
			m, before := play(t, open, moves...)
			for _, id := range []board.SlotID{board.SlotID(before[:1]), "", "c", "A"} {
				if err := m.Boot.Arm(id); err == nil {
					t.Errorf("%s: slot %q was armed, want an error", names(moves), id)
				}
			}
			if after, err := look(m); after != before || err != nil {
				t.Errorf("%s: %s, %v after an error, want %s", names(moves), after, err, before)
			}
		}
	})
	t.Run("what cannot be read is an error, never a guess", func(t *testing.T) { testGarbled(t, open) })
	t.Run("the power may go at any moment", func(t *testing.T) { testCuts(t, open) })
}

func testGarbled(t *testing.T, open func(*testing.T) *Machine) {
	for _, moves := range [][]move{nil, {arm}, {arm, restart}, {arm, restart, commit}} {
		m, _ := play(t, open, moves...)
		if m.Garble == nil {
			return // nothing of it can be made unreadable
		}
		m.Garble()
		if f, err := m.Boot.Facts(); err == nil || f != (board.BootFacts{}) {
			t.Errorf("%s: facts %+v, %v, want an error and no facts", names(moves), f, err)
		}
		for _, mv := range []move{arm, disarm, commit} {
			if err := mv.do(m); err == nil {
				t.Errorf("%s: %s succeeded, want an error", names(moves), mv.name)
			}
		}
	}
}

// testCuts cuts the power in each call and in each start, in each situation, and once more in the start that follows.
func testCuts(t *testing.T, open func(*testing.T) *Machine) {
	if open(t).Cuts == nil {
		return // the driver's own tests cut it in another way
	}
	count := map[string]int{}
	known := map[string]state{}
	deeds := []move{arm, disarm, commit, restart}
	for _, before := range [][]move{nil, {arm}, {arm, restart}, {arm, restart, restart}, {arm, restart, commit}, {disarm}} {
		for _, deed := range deeds {
			c := cutting{t: t, open: open, before: before, deed: deed, known: known}
			count[deed.name] += c.run()
		}
	}
	for _, deed := range deeds {
		t.Logf("cut in %s: %d states", deed.name, count[deed.name])
	}
	if count[arm.name] < 10 || count[restart.name] < 10 {
		t.Errorf("%d states of a cut in arm, %d in restart: the sweep saw nothing", count[arm.name], count[restart.name])
	}
}

// A cutting is one deed in one situation.
type cutting struct {
	t      *testing.T
	open   func(*testing.T) *Machine
	before []move
	deed   move
	known  map[string]state // where moves lead on a machine that is never cut, by their names
}

func (c *cutting) run() (states int) {
	undone := slices.Concat(c.before, []move{restart})
	done := slices.Concat(c.before, []move{c.deed, restart})
	paths := [][]move{undone, done}
	if last := len(c.before) - 1; last >= 0 && c.before[last].name == arm.name && c.open(c.t).Forgets {
		paths = append(paths, slices.Concat(c.before[:last], []move{restart}), slices.Concat(c.before[:last], []move{c.deed, restart}))
	}
	// A start that is cut may have spent the try already.
	again := slices.Clone(paths)
	for _, p := range paths {
		again = append(again, slices.Concat(p, []move{restart}))
	}
	m, _ := play(c.t, c.open, c.before...)
	for cut := range m.Cuts(func() { c.must(c.deed.do(m), "%s", c.deed.name) }) {
		states++
		start := func() { c.must(cut.Restart(), "no slot boots") }
		if cut.Cuts == nil {
			start()
		} else {
			for twice := range cut.Cuts(start) {
				states++
				c.must(twice.Restart(), "cut again in the start: no slot boots")
				c.check(twice, again)
			}
		}
		c.check(cut, paths)
	}
	return states
}

func (c *cutting) must(err error, format string, args ...any) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("cut in %s after %s: %s: %v", c.deed.name, names(c.before), fmt.Sprintf(format, args...), err)
	}
}

func (c *cutting) look(m *Machine) state {
	c.t.Helper()
	s, err := look(m)
	c.must(err, "facts")
	return s
}

// leads returns where moves lead on a machine that is never cut.
func (c *cutting) leads(moves ...move) state {
	key := names(moves)
	if _, ok := c.known[key]; !ok {
		_, c.known[key] = play(c.t, c.open, moves...)
	}
	return c.known[key]
}

// check asks of a machine that has started after the cut for one of the states the paths lead to. The deed done again
// must lead where it leads on a machine that was never cut, and an update after that must succeed.
func (c *cutting) check(m *Machine, paths [][]move) {
	c.t.Helper()
	where := fmt.Sprintf("cut in %s after %s", c.deed.name, names(c.before))
	got := c.look(m)
	var may []state
	for _, p := range paths {
		if c.leads(p...) == got {
			may = append(may, c.leads(slices.Concat(p, []move{c.deed})...))
		}
	}
	if len(may) == 0 {
		c.t.Fatalf("%s: booted and next: %s, which no way without the cut leads to", where, got)
	}
	c.must(c.deed.do(m), "%s again", c.deed.name)
	then := c.look(m)
	if !slices.Contains(may, then) {
		c.t.Fatalf("%s: found %s, %s again leads to %s, want %s", where, got, c.deed.name, then, may)
	}
	for _, mv := range []move{commit, disarm, arm, restart, commit, restart} {
		c.must(mv.do(m), "later, %s", mv.name)
	}
	if last := c.look(m); last[0] != last[1] || last[0] == then[0] {
		c.t.Fatalf("%s: an update afterwards: %s after %s, want the other slot committed", where, last, then)
	}
}
