package linux

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/board"
)

// A Layout says which device holds which part of which slot, and how the bootloader calls the slots.
type Layout struct {
	// Parts says for each part where it is in each slot: a path as /dev/mmcblk0p2 or /dev/disk/by-partlabel/root-a, or
	// PARTUUID=, PARTLABEL=, UUID= or LABEL= as in the kernel's root=. A plain file, which is there and has its full size,
	// is one for trials.
	Parts map[string]map[board.SlotID]string
	// Names is how the slots are called in rauc.slot= on the kernel's command line; "A" and "B" when nil.
	Names map[board.SlotID]string
	// Root is the directory below which proc, sys and dev lie; "" is "/".
	Root string
	// Cmdline is the file with the kernel's command line; "" is proc/cmdline below Root. Another is for trials.
	Cmdline string
}

// A place is a block device by its number, or a file by that of its file system and its inode.
type place struct {
	dev   uint64
	inode uint64 // 0 for a block device
}

func (p place) block() bool { return p.inode == 0 }

func (l Layout) under(name string) string {
	if l.Root == "" {
		return "/" + name
	}
	return filepath.Join(l.Root, name)
}

// Check reports a layout that names no part, or a part or a slot not as they are called.
func (l Layout) Check() error {
	if len(l.Parts) == 0 {
		return errors.New("layout: no parts")
	}
	for part, places := range l.Parts {
		if err := board.CheckName(part); err != nil {
			return fmt.Errorf("layout: part: %w", err)
		}
		if len(places) != 2 || places[board.SlotA] == "" || places[board.SlotB] == "" || places[board.SlotA] == places[board.SlotB] {
			return fmt.Errorf("layout: part %s: want one place for slot a and another for slot b", part)
		}
	}
	names := l.names()
	if len(names) != 2 || names[board.SlotA] == "" || names[board.SlotB] == "" || names[board.SlotA] == names[board.SlotB] {
		return errors.New("layout: names: want one for slot a and another for slot b")
	}
	return nil
}

func (l Layout) names() map[board.SlotID]string {
	if l.Names == nil {
		return map[board.SlotID]string{board.SlotA: "A", board.SlotB: "B"}
	}
	return l.Names
}

// tags are the forms of root= that name a device by what is on it, and where udev keeps them.
var tags = map[string]string{"PARTUUID": "by-partuuid", "PARTLABEL": "by-partlabel", "UUID": "by-uuid", "LABEL": "by-label"}

// path returns where the device node of a place is. Tags are looked up in /dev/disk as udev encodes them: characters
// outside a small set as \x and two hex digits.
func (l Layout) path(where string) (string, error) {
	tag, value, tagged := strings.Cut(where, "=")
	dir, known := tags[tag]
	switch {
	case tagged && known:
		if tag == "PARTUUID" {
			value = strings.ToLower(value)
		}
		if value == "" || len(value) > 256 {
			return "", fmt.Errorf("device %.80q: nothing after %s=", where, tag)
		}
		return l.under("dev/disk/" + dir + "/" + udevName(value)), nil
	case strings.HasPrefix(where, "/"):
		return where, nil
	}
	return "", fmt.Errorf("device %.80q: want a path, PARTUUID=, PARTLABEL=, UUID= or LABEL=", where)
}

func udevName(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c >= 0x80, strings.IndexByte("#+-.:=@_", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// find returns what stands at a place.
func (l Layout) find(where string) (place, error) {
	path, err := l.path(where)
	if err != nil {
		return place{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return place{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return placeOf(path, &st)
}

func placeOf(path string, st *unix.Stat_t) (place, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK:
		return place{dev: uint64(st.Rdev)}, nil
	case unix.S_IFREG:
		return place{dev: uint64(st.Dev), inode: uint64(st.Ino)}, nil
	}
	return place{}, fmt.Errorf("%s: neither a block device nor a file", path)
}

// Missing returns why a place of the layout cannot be found, for each that cannot.
func (l Layout) Missing() (problems []error) {
	for _, part := range slices.Sorted(maps.Keys(l.Parts)) {
		for _, id := range []board.SlotID{board.SlotA, board.SlotB} {
			if _, err := l.find(l.Parts[part][id]); err != nil {
				problems = append(problems, fmt.Errorf("%s of slot %s: %w", part, id, err))
			}
		}
	}
	return problems
}

// slotOf returns the slot that has a part at one of the places, "" when none has.
func (l Layout) slotOf(places ...place) board.SlotID {
	for _, part := range slices.Sorted(maps.Keys(l.Parts)) {
		for _, id := range []board.SlotID{board.SlotA, board.SlotB} {
			if p, err := l.find(l.Parts[part][id]); err == nil && slices.Contains(places, p) {
				return id
			}
		}
	}
	return ""
}

// Booted returns the slot the running system came from. rauc.slot= and root= (or systemd.verity_root_data=) on the
// kernel's command line, and what is mounted at /, are asked; all that say something must say the same.
func (l Layout) Booted() (board.SlotID, error) {
	if err := l.Check(); err != nil {
		return "", err
	}
	said := map[board.SlotID]string{}
	args, err := l.cmdline()
	if err != nil {
		return "", err
	}
	if name, ok := args["rauc.slot"]; ok {
		id, err := l.named(name)
		if err != nil {
			return "", err
		}
		said[id] = "rauc.slot=" + name
	}
	for _, key := range []string{"root", "systemd.verity_root_data"} {
		if p, err := l.find(args[key]); err == nil {
			said[l.slotOf(p)] = key + "=" + args[key]
		}
	}
	roots, err := l.mountedAtRoot()
	if err != nil {
		return "", err
	}
	said[l.slotOf(roots...)] = "what is mounted at /"
	delete(said, "")
	switch len(said) {
	case 0:
		return "", errors.New("slot the system runs from: neither the kernel's command line nor what is mounted at / tells")
	case 2:
		return "", fmt.Errorf("slot the system runs from: %s says a, %s says b", said[board.SlotA], said[board.SlotB])
	}
	for id := range said {
		return id, nil
	}
	return "", nil // not reached
}

// named returns the slot that the bootloader calls by the name.
func (l Layout) named(name string) (board.SlotID, error) {
	for id, n := range l.names() {
		if n == name {
			return id, nil
		}
	}
	return "", fmt.Errorf("slot %.40q: neither %s nor %s", name, l.names()[board.SlotA], l.names()[board.SlotB])
}

// cmdlineBytes bounds the kernel's command line; architectures allow 256 to 4096.
const cmdlineBytes = 64 << 10

// cmdline returns the kernel's parameters; of one that comes twice the kernel takes the last. Those after -- are init's.
func (l Layout) cmdline() (map[string]string, error) {
	name := l.Cmdline
	if name == "" {
		name = l.under("proc/cmdline")
	}
	text, err := readSmall(name, cmdlineBytes)
	if err != nil {
		return nil, fmt.Errorf("kernel's command line: %w", err)
	}
	return parseCmdline(text), nil
}

func parseCmdline(text string) map[string]string {
	args := map[string]string{}
	quoted := false
	fields := strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\n' || r == '\t')
	})
	for _, f := range fields {
		if f == "--" {
			break
		}
		key, value, _ := strings.Cut(f, "=")
		args[strings.Trim(key, `"`)] = strings.Trim(value, `"`)
	}
	return args
}

// readSmall reads a file of at most so many bytes, of any kind that does not block.
func readSmall(name string, limitBytes int64) (string, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limitBytes+1))
	if err != nil {
		return "", err
	}
	if int64(len(b)) > limitBytes {
		return "", fmt.Errorf("%s: longer than %d bytes", name, limitBytes)
	}
	return string(b), nil
}
