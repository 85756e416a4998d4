package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"holdfast/board"
)

// Bounds of a system.conf: those of real boards have a few KiB and fewer than ten slots.
const (
	raucBytes = 64 << 10
	raucSlots = 64
)

// raucFiles are where RAUC looks for its system.conf; the first that is there counts.
var raucFiles = []string{"etc/rauc/system.conf", "run/rauc/system.conf", "usr/lib/rauc/system.conf"}

// fromRAUC reads RAUC's system configuration (RAUC's documentation, "Reference", system configuration file).
func (l Layout) fromRAUC() (*Found, error) {
	for _, name := range raucFiles {
		text, err := readSmall(l.under(name), raucBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("system.conf of RAUC: %w", err)
		}
		f, err := parseRAUC(text)
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", name, err)
		}
		f.Source = "/" + name
		return &f, nil
	}
	return nil, nil
}

// A raucSlot is one section [slot.CLASS.INDEX].
type raucSlot struct{ name, class, device, bootname, parent string }

// parseRAUC finds the class of slots that the bootloader knows two of, and the classes whose slots are their children.
func parseRAUC(text string) (Found, error) {
	f, slots, err := scanRAUC(text)
	if err != nil {
		return f, err
	}
	byClass, byName := map[string][]raucSlot{}, map[string]raucSlot{}
	for _, s := range slots {
		if byName[s.name].name != "" {
			return f, fmt.Errorf("slot %s: twice", s.name)
		}
		byName[s.name] = s
		if s.bootname != "" {
			byClass[s.class] = append(byClass[s.class], s)
		}
	}
	var pair []raucSlot
	for _, s := range slots {
		if group := byClass[s.class]; len(group) == 2 && s.name == group[0].name { // one alone is a rescue system
			if pair != nil {
				return f, fmt.Errorf("slots %s and %s are both booted: which is the system?", pair[0].class, s.class)
			}
			pair = group
		}
	}
	if pair == nil {
		return f, errors.New("no class has two slots with a bootname")
	}
	if pair[0].bootname == pair[1].bootname {
		return f, fmt.Errorf("slots %s and %s: the same bootname", pair[0].name, pair[1].name)
	}
	id := map[string]board.SlotID{pair[0].name: board.SlotA, pair[1].name: board.SlotB}
	f.Names = map[board.SlotID]string{board.SlotA: pair[0].bootname, board.SlotB: pair[1].bootname}
	f.Parts = map[string]map[board.SlotID]string{}
	for _, s := range slots {
		slot := id[s.ancestor(byName)]
		if slot == "" {
			continue // it belongs to no slot of the pair: a rescue system, or the bootloader itself
		}
		part := s.class
		if part == "rootfs" || part == "system" {
			part = "root"
		}
		if f.Parts[part] == nil {
			f.Parts[part] = map[board.SlotID]string{}
		}
		if f.Parts[part][slot] != "" {
			return f, fmt.Errorf("slot %s: another of its class belongs to the same system", s.name)
		}
		f.Parts[part][slot] = s.device
	}
	return f, Layout{Parts: f.Parts, Names: f.Names}.Check()
}

// ancestor returns the slot that this one belongs to: itself, or that its parents lead to.
func (s raucSlot) ancestor(all map[string]raucSlot) string {
	for range raucSlots { // parents may go in a circle
		if s.parent == "" {
			break
		}
		s = all[s.parent]
	}
	return s.name
}

// scanRAUC reads the file's lines. It is a key file as GLib has them: sections in brackets, key=value, and # before a
// comment. What is not known is RAUC's business and skipped.
func scanRAUC(text string) (f Found, slots []raucSlot, err error) {
	loaders := map[string]string{"uboot": "uboot-rauc", "grub": "grub"}
	section := ""
	var s *raucSlot
	for i, line := range strings.Split(text, "\n") {
		number := i + 1
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			if section, s = strings.Trim(line, "[]"), nil; !strings.HasSuffix(line, "]") {
				return f, nil, fmt.Errorf("line %d: no ] at its end", number)
			}
			rest, ok := strings.CutPrefix(section, "slot.")
			if !ok {
				continue
			}
			class, index, ok := strings.Cut(rest, ".")
			if !ok || board.CheckName(class) != nil || index == "" {
				return f, nil, fmt.Errorf("line %d: %.80q is no slot's name", number, section)
			}
			if len(slots) >= raucSlots {
				return f, nil, fmt.Errorf("line %d: more than %d slots", number, raucSlots)
			}
			slots = append(slots, raucSlot{name: rest, class: class})
			s = &slots[len(slots)-1]
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return f, nil, fmt.Errorf("line %d: neither a section nor key=value", number)
		}
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if s == nil {
			switch {
			case section == "system" && key == "bootloader":
				f.Bootloader = loaders[value]
			case section == "system" && key == "grubenv":
				f.GrubEnv = value
			}
			continue
		}
		switch key {
		case "device":
			if !strings.HasPrefix(value, "/") || len(value) > 256 {
				return f, nil, fmt.Errorf("line %d: device %.80q is no path", number, value)
			}
			s.device = value
		case "bootname":
			s.bootname = value
		case "parent":
			s.parent = value
		}
	}
	return f, slots, nil
}
