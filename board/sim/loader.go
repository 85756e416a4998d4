package sim

import (
	"errors"
	"fmt"
	"maps"

	"holdfast/board"
	"holdfast/board/loaders"
)

// envBytes is the size of each copy of the environment: eight sectors would do as well, two are tried sooner.
const envBytes = 1024

// A Loader is a model of U-Boot with RAUC's boot script. Its environment is two redundant copies on a device of the
// Disk; its starts write it as the running system does, and a power cut may hit either.
//
// As a board.Boot it is what the running system has, like fw_setenv on a real board; Start is the machine's own.
type Loader struct {
	// Loads says whether the bootloader can start what is in the slot; nil: always. A slot that it cannot start costs an
	// attempt each time: the machine resets.
	Loads func(id board.SlotID) bool
	// Reset is the reason that Facts gives.
	Reset board.Reset

	env    *Device
	script loaders.RAUC
	booted board.SlotID
}

// NewLoader returns the bootloader whose environment is on the disk's device "env". A new disk has none yet; the first
// Start writes it. Nothing runs before Start.
func NewLoader(d *Disk) *Loader { return &Loader{env: d.Device("env", 2*envBytes)} }

// ask is load for the running system: what a process that was killed has written is made durable before it is believed.
func (l *Loader) ask() (v loaders.Vars, copied int, flag byte, err error) {
	if l.env.waits() {
		if err := l.env.Sync(); err != nil {
			return nil, 0, 0, fmt.Errorf("environment: %w", err)
		}
	}
	return l.load()
}

// load returns the environment in force, and which copy and flag it has. A sector that cannot be read spoils its copy.
func (l *Loader) load() (v loaders.Vars, copied int, flag byte, err error) {
	var vars [2]loaders.Vars
	var flags [2]byte
	for i := range vars {
		raw := make([]byte, envBytes)
		if _, e := l.env.ReadAt(raw, int64(i)*envBytes); e != nil {
			err = errors.Join(err, e)
			continue
		}
		var e error
		if vars[i], flags[i], e = loaders.Decode(raw); e != nil {
			err = errors.Join(err, fmt.Errorf("copy %d: %w", i, e))
		}
	}
	switch {
	case vars[0] != nil && vars[1] != nil:
		copied = loaders.Newer(flags[0], flags[1])
	case vars[1] != nil:
		copied = 1
	case vars[0] == nil:
		return nil, 0, 0, err
	}
	return vars[copied], copied, flags[copied], nil
}

// save writes the copy that is not in force.
func (l *Loader) save(v loaders.Vars, copied int, flag byte) error {
	raw, err := loaders.Encode(v, flag+1, envBytes)
	if err != nil {
		return err
	}
	if _, err := l.env.WriteAt(raw, int64(1-copied)*envBytes); err != nil {
		return fmt.Errorf("write environment: %w", err)
	}
	if err := l.env.Sync(); err != nil {
		return fmt.Errorf("write environment: %w", err)
	}
	return nil
}

// resets bounds a start: after so many the machine is taken not to come up any more.
const resets = 32

// Start plays the machine's start, with as many resets as it takes, and returns the slot that boots: the script takes
// the first slot of BOOT_ORDER that has attempts left, takes one from it, saves the environment and loads it; when none
// has, all get three. Where no copy of the environment is valid, it begins with "A B" and three each, as the script does.
func (l *Loader) Start() (board.SlotID, error) {
	l.booted = ""
	for range resets {
		v, copied, flag, err := l.load()
		if err != nil {
			v = loaders.Vars{}
		}
		for name, value := range map[string]string{"BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"} {
			if v[name] == "" {
				v[name] = value
			}
		}
		id, err := l.choose(v)
		if err != nil {
			return "", fmt.Errorf("bootloader: %w", err)
		}
		if err := l.save(v, copied, flag); err != nil {
			return "", fmt.Errorf("bootloader: %w", err)
		}
		if id != "" && (l.Loads == nil || l.Loads(id)) {
			l.booted = id
			return id, nil
		}
	}
	return "", errors.New("bootloader: no slot can be loaded")
}

// choose is the script: it takes an attempt from a slot and returns it, or gives all new ones and returns "".
func (l *Loader) choose(v loaders.Vars) (board.SlotID, error) {
	name, err := l.script.Next(v)
	if err != nil {
		return "", err
	}
	for id, left := range map[board.SlotID]string{board.SlotA: "BOOT_A_LEFT", board.SlotB: "BOOT_B_LEFT"} {
		if bootName(id) != name {
			continue
		}
		var n uint
		if _, err := fmt.Sscanf(v[left], "%x", &n); err != nil {
			return "", fmt.Errorf("%s=%q: %w", left, v[left], err)
		}
		if n > 0 {
			v[left] = fmt.Sprintf("%x", n-1)
			return id, nil
		}
	}
	v["BOOT_A_LEFT"], v["BOOT_B_LEFT"] = "3", "3"
	return "", nil
}

func bootName(id board.SlotID) string {
	return map[board.SlotID]string{board.SlotA: "A", board.SlotB: "B"}[id]
}

// Booted returns the slot the running system came from; "" when nothing runs.
func (l *Loader) Booted() board.SlotID { return l.booted }

// Facts implements board.Boot.
func (l *Loader) Facts() (board.BootFacts, error) {
	if l.booted == "" {
		return board.BootFacts{}, errors.New("boot facts: nothing runs")
	}
	v, _, _, err := l.ask()
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	name, err := l.script.Next(v)
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	next := board.SlotA
	if name == bootName(board.SlotB) {
		next = board.SlotB
	}
	return board.BootFacts{Booted: l.booted, Next: next, Reset: l.Reset}, nil
}

// Arm implements board.Boot.
func (l *Loader) Arm(id board.SlotID) error {
	if l.booted == "" || id != l.booted.Other() {
		return fmt.Errorf("arm slot %q: slot %q is running", id, l.booted)
	}
	return l.change(loaders.Arm)
}

// Disarm implements board.Boot.
func (l *Loader) Disarm() error { return l.change(loaders.Disarm) }

// Commit implements board.Boot.
func (l *Loader) Commit() error { return l.change(loaders.Commit) }

// change does the deed by one write of the environment, or by none where nothing changes.
func (l *Loader) change(deed loaders.Deed) error {
	v, copied, flag, err := l.ask()
	if err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	set, err := l.script.Change(v, bootName(l.booted), deed)
	if err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	after := maps.Clone(v)
	maps.Copy(after, set)
	if maps.Equal(v, after) {
		return nil
	}
	if err := l.save(after, copied, flag); err != nil {
		return fmt.Errorf("%s: %w", deed, err)
	}
	return nil
}
