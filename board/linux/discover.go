package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"holdfast/board"
)

// A Found is a layout that something on the machine names.
type Found struct {
	Source     string // the file or the directory that names it
	Bootloader string // as update.bootloader has it; empty where the source does not say, or names one that is not known
	Parts      map[string]map[board.SlotID]string
	Names      map[board.SlotID]string // what the bootloader calls the slots; nil where the source does not say
	Partitions [2]int                  // the partitions' numbers, a and b, for Mender; 0 where they are not known
	GrubEnv    string                  // GRUB's environment; empty where the source does not say
}

// String says it in one line, for people.
func (f Found) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", f.Source)
	for _, part := range slices.Sorted(maps.Keys(f.Parts)) {
		fmt.Fprintf(&b, " %s %s and %s", part, f.Parts[part][board.SlotA], f.Parts[part][board.SlotB])
	}
	return b.String()
}

// ErrNoLayout means that nothing on the machine says where the slots are.
var ErrNoLayout = errors.New("nothing says where the slots are: neither RAUC's system.conf nor Mender's mender.conf, nor partitions labelled such as root-a and root-b")

// Discover looks for what says where the slots are, and returns everything that does, what somebody wrote down before
// what the partitions' labels suggest. A file that is there and cannot be read is an error.
func Discover(root string) ([]Found, error) {
	l := Layout{Root: root}
	var all []Found
	for _, look := range []func() (*Found, error){l.fromRAUC, l.fromMender, l.fromLabels} {
		f, err := look()
		if err != nil {
			return nil, err
		}
		if f != nil {
			all = append(all, *f)
		}
	}
	return all, nil
}

// Choose returns the one layout that all of those found agree on, or an error that lists them. Two agree when each part
// that both name is at the same place. Labels may name more parts than a file does, which are then not used: an image for
// that board does not have them.
func Choose(root string, all []Found) (Found, error) {
	if len(all) == 0 {
		return Found{}, ErrNoLayout
	}
	l := Layout{Root: root}
	for _, other := range all[1:] {
		for part, places := range other.Parts {
			mine, both := all[0].Parts[part]
			if both && !(l.same(mine[board.SlotA], places[board.SlotA]) && l.same(mine[board.SlotB], places[board.SlotB])) {
				return Found{}, fmt.Errorf("where the slots are is ambiguous: %s; %s", all[0], other)
			}
		}
	}
	return all[0], nil
}

// same reports whether two names are of one place: they are the same text, or lead to the same device.
func (l Layout) same(a, b string) bool {
	if a == b {
		return true
	}
	p, err1 := l.find(a)
	q, err2 := l.find(b)
	return err1 == nil && err2 == nil && p == q
}

// labelBytes and maxLabels bound what is read of /dev/disk/by-partlabel. A GPT label has at most 36 characters.
const (
	labelBytes = 36
	maxLabels  = 1024
)

// rootStems are labels of root file systems, without what tells the slots apart.
var rootStems = []string{"root", "rootfs", "slot", "system"}

// fromLabels pairs the labels of partitions that differ in a last letter a or b.
func (l Layout) fromLabels() (*Found, error) {
	const dir = "dev/disk/by-partlabel"
	d, err := os.Open(l.under(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // no udev, or no partition has a label
	}
	if err != nil {
		return nil, fmt.Errorf("labels of partitions: %w", err)
	}
	defer d.Close()
	labels, err := d.Readdirnames(maxLabels)
	if err != nil && len(labels) == 0 {
		return nil, nil // an empty directory
	}
	parts, err := pairLabels(labels)
	if err != nil || len(parts) == 0 {
		return nil, err
	}
	return &Found{Source: "/" + dir, Parts: parts}, nil
}

// pairLabels makes parts of labels such as root-a and root-b, slot_a and slot_b, bootA and bootB. Without a pair that is
// a root file system's there are none: vbmeta_a alone is no layout.
func pairLabels(labels []string) (map[string]map[board.SlotID]string, error) {
	slices.Sort(labels)
	parts, from := map[string]map[board.SlotID]string{}, map[string]string{}
	for _, a := range labels {
		stem, other, ok := slotLabel(a)
		if !ok || !slices.Contains(labels, other) {
			continue
		}
		part := strings.ToLower(strings.TrimRight(stem, "-_. "))
		if slices.Contains(rootStems, part) {
			part = "root"
		}
		if board.CheckName(part) != nil {
			continue
		}
		if before, twice := from[part]; twice {
			return nil, fmt.Errorf("labels of partitions: %s and %s could both be slot a of %s", before, a, part)
		}
		from[part] = a
		parts[part] = map[board.SlotID]string{board.SlotA: "PARTLABEL=" + a, board.SlotB: "PARTLABEL=" + other}
	}
	if parts["root"] == nil {
		return nil, nil
	}
	return parts, nil
}

// slotLabel takes a label of slot a apart, and returns what its sister's must be. The letter follows a sign, or is
// upper case: "data" is no label of slot a.
func slotLabel(a string) (stem, sister string, ok bool) {
	if len(a) < 2 || len(a) > labelBytes {
		return "", "", false
	}
	stem = a[:len(a)-1]
	signed := strings.IndexByte("-_.", stem[len(stem)-1]) >= 0
	switch a[len(a)-1] {
	case 'a':
		return stem, stem + "b", signed
	case 'A':
		return stem, stem + "B", true
	}
	return "", "", false
}
