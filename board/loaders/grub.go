package loaders

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// GRUB is RAUC's convention for GRUB: ORDER lists boot names; a slot is started while <name>_OK is 1 and <name>_TRY has
// not counted up to Attempts. At each start the script takes the first such slot of ORDER, counts its TRY up and saves
// the environment. An update sets TRY so that one start is left.
//
// RAUC's own script (contrib/grub.conf of its sources) has one attempt, and starts a rescue entry when no slot is left.
// The one that comes with Holdfast has three; when no slot is left it gives those that are OK all attempts again, and
// takes the first.
type GRUB struct {
	Names    [2]string // boot names; "A" and "B" when empty
	Attempts int       // what the script allows, 1 or 3; 0 means 3
}

func (g GRUB) names() [2]string {
	if g.Names == [2]string{} {
		return [2]string{"A", "B"}
	}
	return g.Names
}

func (g GRUB) attempts() int {
	if g.Attempts == 0 {
		return 3
	}
	return g.Attempts
}

// Check reports names or attempts that cannot be.
func (g GRUB) Check() error {
	names := g.names()
	for _, n := range names {
		if !word(n) {
			return fmt.Errorf("boot name %.40q: want 1 to 32 of letters, digits and '_'", n)
		}
	}
	if names[0] == names[1] {
		return fmt.Errorf("boot name %s is that of both slots", names[0])
	}
	if n := g.attempts(); n != 1 && n != 3 {
		return fmt.Errorf("%d attempts: want 1, for RAUC's own script, or 3", n)
	}
	return nil
}

// Variables returns what Change sets, in the order in which they stand in the block.
func (g GRUB) Variables() []string {
	n := g.names()
	return []string{"ORDER", n[0] + "_OK", n[0] + "_TRY", n[1] + "_OK", n[1] + "_TRY"}
}

// A grubState is what the variables say.
type grubState struct {
	order []string
	ok    map[string]bool
	try   map[string]int
}

func (g GRUB) scan(b Block) (grubState, error) {
	s := grubState{order: strings.Fields(b.Get("ORDER")), ok: map[string]bool{}, try: map[string]int{}}
	for i, n := range s.order {
		if slices.Contains(s.order[:i], n) {
			return s, fmt.Errorf("ORDER=%.80q: want each once", b.Get("ORDER"))
		}
	}
	for _, n := range g.names() {
		if !slices.Contains(s.order, n) {
			return s, fmt.Errorf("ORDER=%.80q: %s is not in it: the bootloader's script has never run, or is another", b.Get("ORDER"), n)
		}
		ok, err := digit(b, n+"_OK", 1)
		if err != nil {
			return s, err
		}
		if s.try[n], err = digit(b, n+"_TRY", g.attempts()); err != nil {
			return s, err
		}
		s.ok[n] = ok == 1
	}
	return s, nil
}

// digit reads a variable of one digit, 0 to most.
func digit(b Block, name string, most int) (int, error) {
	v := b.Get(name)
	if len(v) != 1 || v[0] < '0' || int(v[0]-'0') > most {
		return 0, fmt.Errorf("%s=%.40q: want 0 to %d", name, v, most)
	}
	return int(v[0] - '0'), nil
}

// Next returns the boot name that the script will take at the next start.
func (g GRUB) Next(b Block) (string, error) {
	s, err := g.scan(b)
	if err != nil {
		return "", err
	}
	again := ""
	for _, n := range s.order {
		try, ours := s.try[n]
		if !ours {
			return "", fmt.Errorf("ORDER=%.80q: leads to %.40s", b.Get("ORDER"), n)
		}
		if s.ok[n] && try < g.attempts() {
			return n, nil
		}
		if s.ok[n] && again == "" {
			again = n
		}
	}
	if again == "" || g.attempts() == 1 {
		return "", fmt.Errorf("ORDER=%.80q: no slot is left to try: leads to the rescue entry", b.Get("ORDER"))
	}
	return again, nil // all get attempts again
}

// Start is the script that comes with Holdfast: it returns the slot it takes, and the environment it saves.
func (g GRUB) Start(b Block) (string, Block, error) {
	name, err := g.Next(b)
	if err != nil {
		return "", b, err
	}
	s, _ := g.scan(b) // Next has
	if s.try[name] >= g.attempts() {
		s.try = map[string]int{}
	}
	s.try[name]++
	return name, g.set(b, s), nil
}

// Change returns the environment after the deed in the running slot. With an environment in which our variables have their
// places already, it differs in the first sector alone.
func (g GRUB) Change(b Block, running string, deed Deed) (Block, error) {
	s, err := g.scan(b)
	if err != nil {
		return b, err
	}
	other, err := known(g.names(), running, deed)
	if err != nil {
		return b, err
	}
	n := g.attempts()
	rest := slices.DeleteFunc(slices.Clone(s.order), func(n string) bool { return n == running || n == other })
	first := slices.Index(s.order, running) < slices.Index(s.order, other)
	fallback := s.ok[other] && s.try[other] < n
	good, bad := running, other
	switch deed {
	case Arm:
		good, bad = other, running
		s.ok = map[string]bool{good: true, bad: true}
		s.try[good], s.try[bad] = n-1, 0
	case Commit:
		// The other stays as what to fall back to, unless it was only armed, or has no attempts left: then it was found bad,
		// and the script must not give it new ones.
		if !fallback || !first && s.ok[running] {
			s.ok[other], s.try[other] = false, 0
		}
		s.ok[running], s.try[running] = true, 0
	case Disarm:
		// A slot that is not OK any more, or is first and has spent its attempts, is on trial: the other is the good one.
		if fallback && (!s.ok[running] || first && s.try[running] >= n) {
			good, bad = other, running
		}
		s.ok[good], s.try[good] = true, min(s.try[good], n-1)
		s.ok[bad], s.try[bad] = false, 0
	}
	s.order = slices.Concat([]string{good, bad}, rest)
	return g.set(b, s), nil
}

func (g GRUB) set(b Block, s grubState) Block {
	v := map[string]string{"ORDER": strings.Join(s.order, " ")}
	for _, n := range g.names() {
		v[n+"_OK"], v[n+"_TRY"] = "0", strconv.Itoa(s.try[n])
		if s.ok[n] {
			v[n+"_OK"] = "1"
		}
	}
	return b.Set(g.Variables(), v)
}
