package loaders

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// RAUC is the convention of RAUC's boot script (contrib/uboot.sh of its sources): BOOT_ORDER lists boot names, and
// BOOT_<name>_LEFT counts in hexadecimal the attempts a slot has left. At each start the script takes the first slot of
// the order that has attempts left, takes one from it, saves the environment and boots. When none has, it gives all of
// them three again and starts over.
//
// RAUC itself writes the two variables one after the other; here both change in one write.
type RAUC struct {
	Names    [2]string // boot names; "A" and "B" when empty. What else BOOT_ORDER lists, a rescue system, stays behind them
	Attempts int       // what a slot that is trusted gets, 1 to 9: one digit is the same in scripts that read decimal; 0 means 3
}

// most bounds a counter that is read; scripts of others may count higher than we do.
const most = 0xffff

func (r RAUC) names() [2]string {
	if r.Names == [2]string{} {
		return [2]string{"A", "B"}
	}
	return r.Names
}

// Check reports names or attempts that cannot be.
func (r RAUC) Check() error {
	names := r.names()
	for _, n := range names {
		if n == "" || strings.Trim(n, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" || len(n) > 32 {
			return fmt.Errorf("boot name %.40q: want 1 to 32 of letters, digits, '_', '.', '-'", n)
		}
	}
	if names[0] == names[1] {
		return fmt.Errorf("boot name %s is that of both slots", names[0])
	}
	if r.Attempts < 0 || r.Attempts > 9 {
		return fmt.Errorf("%d attempts: want 1 to 9", r.Attempts)
	}
	return nil
}

// Variables returns what Next and Change want to know.
func (r RAUC) Variables() []string {
	names := r.names()
	return []string{"BOOT_ORDER", left(names[0]), left(names[1])}
}

func left(name string) string { return "BOOT_" + name + "_LEFT" }

// scan reads the variables: the order, and the attempts left of our two slots.
func (r RAUC) scan(v Vars) (order []string, attempts map[string]uint64, err error) {
	names := r.names()
	text, err := v.set("BOOT_ORDER")
	if err != nil {
		return nil, nil, err
	}
	order = strings.Fields(text)
	for i, n := range order {
		if slices.Contains(order[:i], n) {
			return nil, nil, fmt.Errorf("BOOT_ORDER=%.80q: %.40s is listed twice", text, n)
		}
	}
	if len(order) > 16 || !slices.Contains(order, names[0]) && !slices.Contains(order, names[1]) {
		return nil, nil, fmt.Errorf("BOOT_ORDER=%.80q: want %s or %s in it", text, names[0], names[1])
	}
	attempts = map[string]uint64{}
	for _, n := range names {
		if attempts[n], err = v.number(left(n), 16, most); err != nil {
			return nil, nil, err
		}
	}
	return order, attempts, nil
}

// Next returns the boot name that the script will take at the next start.
func (r RAUC) Next(v Vars) (string, error) {
	order, attempts, err := r.scan(v)
	if err != nil {
		return "", err
	}
	return r.next(order, attempts)
}

func (r RAUC) next(order []string, attempts map[string]uint64) (string, error) {
	for _, n := range order {
		count, ours := attempts[n]
		if !ours {
			return "", fmt.Errorf("BOOT_ORDER=%.80q: leads to %.40s", strings.Join(order, " "), n)
		}
		if count > 0 {
			return n, nil
		}
	}
	return order[0], nil // all get attempts again
}

// Change returns the variables that do the deed in the running slot; those that keep their values are among them.
func (r RAUC) Change(v Vars, running string, deed Deed) (Vars, error) {
	order, attempts, err := r.scan(v)
	if err != nil {
		return nil, err
	}
	other, err := known(r.names(), running, deed)
	if err != nil {
		return nil, err
	}
	full := uint64(r.Attempts)
	if full == 0 {
		full = 3
	}
	rest := slices.DeleteFunc(slices.Clone(order), func(n string) bool { return n == running || n == other })
	listed := slices.Contains(order, running)
	fallback := slices.Contains(order, other) && attempts[other] > 0
	switch deed {
	case Arm:
		order = slices.Concat([]string{other, running}, rest)
		attempts[other], attempts[running] = 1, full
	case Commit:
		// The other stays as what to fall back to, unless it was only armed, or has no attempts left: then it was found bad,
		// and the script must not give it new ones.
		if order[0] == other && listed {
			attempts[other], fallback = 0, false
		}
		if fallback {
			rest = slices.Insert(rest, 0, other)
		}
		order = slices.Concat([]string{running}, rest)
		attempts[running] = full
	case Disarm:
		good, bad := running, other
		// A slot that is no longer listed, or is first and has spent its attempts, is on trial: the other is the good one.
		if fallback && (!listed || order[0] == running && attempts[running] == 0) {
			good, bad = other, running
		}
		order = slices.Concat([]string{good}, rest)
		attempts[good], attempts[bad] = max(attempts[good], 1), 0
	}
	out := Vars{"BOOT_ORDER": strings.Join(order, " ")}
	for n, count := range attempts {
		out[left(n)] = strconv.FormatUint(count, 16)
	}
	return out, nil
}
