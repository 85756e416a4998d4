package loaders

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// TrybootParameter is the argument of reboot(2) that makes the firmware try the partition of the section [tryboot] once:
// partition 0 is the one of autoboot.txt. The flag outlives one warm restart and no power cut.
const TrybootParameter = "0 tryboot"

// An Autoboot is the Raspberry Pi's autoboot.txt: which partition is started, and which when the flag tryboot is set. It
// has at most 512 bytes (documentation of config.txt), so that all of it lies in one sector. Autoboots do not change.
type Autoboot struct {
	text     string
	all, try span
}

// A span is where in the text a partition's number stands.
type span struct {
	at, end int
	part    int
}

// ParseAutoboot reads the file. boot_partition must be set once in [all] and once in [tryboot], tryboot_a_b=1 in [all].
func ParseAutoboot(raw []byte) (Autoboot, error) {
	if len(raw) > SectorBytes {
		return Autoboot{}, fmt.Errorf("autoboot.txt: %d bytes, the firmware reads %d", len(raw), SectorBytes)
	}
	a := Autoboot{text: string(raw)}
	section, ab, at := "[all]", false, 0
	for line := range strings.Lines(a.text) {
		begin := at
		at += len(line)
		text := strings.TrimRight(line, " \t\r\n")
		key, value, _ := strings.Cut(text, "=")
		switch {
		case text == "[all]" || text == "[tryboot]" || text == "[none]":
			section = text
		case strings.HasPrefix(text, "["):
			return Autoboot{}, fmt.Errorf("autoboot.txt: section %.40q: want [all], [tryboot] or [none]", text)
		case section == "[none]":
		case key == "tryboot_a_b":
			ab = section == "[all]" && value == "1"
		case key == "boot_partition":
			n, err := strconv.ParseUint(value, 10, 8)
			s := &a.all
			if section == "[tryboot]" {
				s = &a.try
			}
			if err != nil || n == 0 || value != strconv.Itoa(int(n)) || s.part != 0 {
				return Autoboot{}, fmt.Errorf("autoboot.txt: %s: %.60q: want a partition's number, once", section, text)
			}
			*s = span{begin + len(key) + 1, begin + len(text), int(n)}
		}
	}
	if !ab {
		return Autoboot{}, errors.New("autoboot.txt: tryboot_a_b=1 is not in [all]")
	}
	if a.all.part == 0 || a.try.part == 0 {
		return Autoboot{}, errors.New("autoboot.txt: want boot_partition= in [all] and in [tryboot]")
	}
	return a, nil
}

// Bytes returns the file.
func (a Autoboot) Bytes() []byte { return []byte(a.text) }

// Tryboot says which partitions the firmware starts the slots from.
type Tryboot struct {
	Parts [2]int // numbers of the boot partitions, 1 to 63; 2 and 3 when both are 0
}

func (t Tryboot) parts() [2]int {
	if t.Parts == [2]int{} {
		return [2]int{2, 3}
	}
	return t.Parts
}

// Names returns the partitions' numbers as slots are called here.
func (t Tryboot) Names() [2]string {
	p := t.parts()
	return [2]string{strconv.Itoa(p[0]), strconv.Itoa(p[1])}
}

// Check reports numbers that cannot be. Both have as many digits as the other: then a change moves nothing in the file.
func (t Tryboot) Check() error {
	p, n := t.parts(), t.Names()
	if p[0] == p[1] || min(p[0], p[1]) < 1 || max(p[0], p[1]) > 63 || len(n[0]) != len(n[1]) {
		return fmt.Errorf("partitions %d and %d: want two numbers from 1 to 63, with as many digits", p[0], p[1])
	}
	return nil
}

// Armed reads what systemd keeps of the next restart's argument: whether it is ours. Another's is an error.
func (t Tryboot) Armed(parameter string) (bool, error) {
	switch strings.TrimSpace(parameter) {
	case "":
		return false, nil
	case TrybootParameter:
		return true, nil
	}
	return false, fmt.Errorf("the next restart has the argument %.40q, which is not ours", parameter)
}

func (t Tryboot) scan(a Autoboot) (all, try string, err error) {
	all, try = strconv.Itoa(a.all.part), strconv.Itoa(a.try.part)
	n := t.Names()
	if n != [2]string{all, try} && n != [2]string{try, all} {
		return "", "", fmt.Errorf("autoboot.txt: boot_partition is %s, and %s with tryboot: want %s and %s", all, try, n[0], n[1])
	}
	return all, try, nil
}

// Next returns the partition that the firmware takes at the next restart.
func (t Tryboot) Next(a Autoboot, armed bool) (string, error) {
	all, try, err := t.scan(a)
	if armed {
		return try, err
	}
	return all, err
}

// Change returns what does the deed in the running slot: the file, and whether the next restart has the argument.
//
// On a trial the good slot is armed by doing nothing: it is what comes next. That the one after it leads back here, to a
// slot nobody trusts, is not arranged.
func (t Tryboot) Change(a Autoboot, running string, deed Deed) (after Autoboot, armed bool, err error) {
	all, _, err := t.scan(a)
	if err != nil {
		return a, false, err
	}
	if _, err := known(t.Names(), running, deed); err != nil {
		return a, false, err
	}
	trial := running != all
	if deed == Commit && trial {
		return a.swap(), false, nil
	}
	return a, deed == Arm && !trial, nil
}

// swap exchanges the two numbers, and nothing else.
func (a Autoboot) swap() Autoboot {
	out := []byte(a.text)
	copy(out[a.all.at:a.all.end], a.text[a.try.at:a.try.end])
	copy(out[a.try.at:a.try.end], a.text[a.all.at:a.all.end])
	after := Autoboot{text: string(out), all: a.all, try: a.try}
	after.all.part, after.try.part = a.try.part, a.all.part
	return after
}
