package loaders

import (
	"errors"
	"fmt"
	"strconv"
)

// Mender is the convention of Mender's U-Boot integration, which builds on U-Boot's own boot counter kept in the
// environment (CONFIG_BOOTCOUNT_LIMIT, CONFIG_BOOTCOUNT_ENV): the slot is mender_boot_part, a partition's number, also in
// hexadecimal as mender_boot_part_hex. While upgrade_available is 1 each start counts bootcount up by one and saves it
// before it boots; when it comes out above bootlimit, altbootcmd turns to the other partition instead, clears
// upgrade_available and saves that. While it is 0 nothing is counted.
type Mender struct {
	Parts [2]int // partition numbers of the slots, 1 to 255; 2 and 3 when both are 0
}

func (m Mender) parts() [2]int {
	if m.Parts == [2]int{} {
		return [2]int{2, 3}
	}
	return m.Parts
}

// Check reports partition numbers that cannot be.
func (m Mender) Check() error {
	p := m.parts()
	if p[0] == p[1] || min(p[0], p[1]) < 1 || max(p[0], p[1]) > 255 {
		return fmt.Errorf("partitions %d and %d: want two numbers from 1 to 255", p[0], p[1])
	}
	return nil
}

func (m Mender) names() [2]string {
	p := m.parts()
	return [2]string{strconv.Itoa(p[0]), strconv.Itoa(p[1])}
}

// Variables returns what Next and Change want to know.
func (m Mender) Variables() []string {
	return []string{"mender_boot_part", "mender_boot_part_hex", "upgrade_available", "bootcount", "bootlimit"}
}

// A mender is what the variables say.
type mender struct {
	part, other  string
	trying       bool
	count, limit uint64
}

func (m Mender) scan(v Vars) (s mender, err error) {
	if s.part, err = v.set("mender_boot_part"); err != nil {
		return s, err
	}
	if s.other, err = otherOf(m.names(), s.part); err != nil {
		return s, fmt.Errorf("mender_boot_part: %w", err)
	}
	if s.limit, err = v.number("bootlimit", 10, most); err != nil {
		return s, err
	}
	if s.limit == 0 {
		return s, errors.New("bootlimit is 0: the bootloader would try a slot for ever")
	}
	// U-Boot takes both for 0 where they are not set (drivers/bootcount/bootcount_env.c).
	if v["upgrade_available"] != "" {
		n, err := v.number("upgrade_available", 10, 1)
		if err != nil {
			return s, err
		}
		s.trying = n == 1
	}
	if v["bootcount"] != "" {
		s.count, err = v.number("bootcount", 10, most)
	}
	return s, err
}

// Next returns the partition number that the next start will boot.
func (m Mender) Next(v Vars) (string, error) {
	s, err := m.scan(v)
	if err != nil {
		return "", err
	}
	if s.trying && s.count+1 > s.limit {
		return s.other, nil
	}
	return s.part, nil
}

// Change returns the variables that do the deed in the running slot; those that keep their values are among them.
func (m Mender) Change(v Vars, running string, deed Deed) (Vars, error) {
	s, err := m.scan(v)
	if err != nil {
		return nil, err
	}
	other, err := known(m.names(), running, deed)
	if err != nil {
		return nil, err
	}
	part, trying, count := running, "0", uint64(0)
	switch deed {
	case Arm:
		// One try, whatever the limit: the next start counts up to it, the one after that goes above.
		part, trying, count = other, "1", s.limit-1
	case Commit:
	case Disarm:
		// While a slot is tried the good one is the other, on trial as before it.
		if part = s.part; s.trying {
			part = s.other
		}
	}
	n, _ := strconv.Atoi(part) // one of ours
	return Vars{
		"mender_boot_part":     part,
		"mender_boot_part_hex": strconv.FormatInt(int64(n), 16),
		"upgrade_available":    trying,
		"bootcount":            strconv.FormatUint(count, 10),
	}, nil
}
