package loaders

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Entry is a file of loader/entries that starts a slot, by its name: holdfast-000007-b+1-0.conf is generation 7 of
// slot b, with one try left and none done; without the counter it is trusted. systemd-boot counts by renaming the file
// before it starts it (UAPI Boot Loader Specification, boot counting).
type Entry struct {
	Generation int    // 1 to 999999; a newer one goes first
	Slot       string // "a" or "b"
	Counted    bool
	Left, Done int
}

// entryPrefix is what names of our entries begin with. loader.conf says default holdfast-*: of those that match,
// systemd-boot takes the first in its order.
const entryPrefix = "holdfast-"

// lastGeneration bounds what a name can say; a trial takes one.
const lastGeneration = 999999

// Name returns the file's name.
func (e Entry) Name() string {
	name := fmt.Sprintf("%s%06d-%s", entryPrefix, e.Generation, e.Slot)
	if e.Counted {
		name += fmt.Sprintf("+%d-%d", e.Left, e.Done)
	}
	return name + ".conf"
}

// ParseEntry reads a name; ok is false where it is none of ours. What looks like ours and cannot be read is an error.
// FAT keeps the case of names and systemd-boot does not care for it.
func ParseEntry(name string) (e Entry, ok bool, err error) {
	rest, ours := strings.CutPrefix(strings.ToLower(name), entryPrefix)
	rest, conf := strings.CutSuffix(rest, ".conf")
	if !ours || !conf {
		return Entry{}, false, nil
	}
	id, counter, counted := strings.Cut(rest, "+")
	left, done, both := strings.Cut(counter, "-")
	if !both {
		done = "0"
	}
	number, slot, _ := strings.Cut(id, "-")
	e = Entry{Slot: slot, Counted: counted}
	e.Generation, err = strconv.Atoi(number)
	if err == nil && counted {
		e.Left, err = strconv.Atoi(left)
	}
	if err == nil && counted {
		e.Done, err = strconv.Atoi(done)
	}
	if err != nil || len(number) != 6 || e.Generation < 1 || slot != "a" && slot != "b" || e.Left < 0 || e.Done < 0 {
		return Entry{}, false, fmt.Errorf("entry %.80q: want a name such as holdfast-000001-a.conf", name)
	}
	return e, true, nil
}

// ErrStartsNothing is what CheckEntry says of a text that systemd-boot passes over.
var ErrStartsNothing = errors.New("has none of the lines linux, efi and uki")

// CheckEntry reports what cannot be an entry's text. It lies in one sector, and its place in the order is its name's.
func CheckEntry(text []byte) error {
	if len(text) > SectorBytes {
		return fmt.Errorf("%d bytes: want at most %d", len(text), SectorBytes)
	}
	starts, ordered := false, ""
	for line := range strings.Lines(string(text)) {
		key, _, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		switch key {
		case "linux", "efi", "uki":
			starts = true
		case "sort-key", "version", "machine-id":
			ordered = key
		}
	}
	switch {
	case !starts:
		return ErrStartsNothing
	case ordered != "":
		return fmt.Errorf("has a line %s: entries are ordered by their names", ordered)
	}
	return nil
}

// Blank returns a text as long as the entry's that systemd-boot passes over: it starts nothing.
func Blank(text []byte) []byte { return bytes.Repeat([]byte("#"), len(text)) }

// good reports whether it may be started as long as there is another like it.
func (e Entry) good() bool { return !e.Counted || e.Left > 0 }

// Order compares as systemd-boot does: what has no tries left goes last, then the names go down. A counter is not a part of the name;
// of two that have one, that with more tries left goes first, then that with fewer done. Where one has none the loader
// does not say which goes first; here the trusted one does, and the other is removed.
func Order(a, b Entry) int {
	rank := func(ok bool) int {
		if ok {
			return 0
		}
		return 1
	}
	return cmp.Or(rank(a.good())-rank(b.good()), b.Generation-a.Generation, strings.Compare(b.Slot, a.Slot),
		rank(!a.Counted)-rank(!b.Counted), b.Left-a.Left, a.Done-b.Done)
}

// Start returns the entry that systemd-boot takes, and what it renames it to; the two are the same without a counter.
func Start(entries []Entry) (taken, after Entry, err error) {
	if len(entries) == 0 {
		return Entry{}, Entry{}, fmt.Errorf("no entries %s*.conf", entryPrefix)
	}
	taken = slices.MinFunc(entries, Order)
	after = taken
	if taken.Counted {
		after.Left, after.Done = max(taken.Left-1, 0), taken.Done+1
	}
	return taken, after, nil
}

// SDBoot is what entries mean. A slot that is trusted has an entry without a counter, which systemd-boot never renames;
// one that is tried has one of a newer generation with one try left; one that is left alone has none.
type SDBoot struct{}

// Next returns the slot that the next start will take.
func (SDBoot) Next(entries []Entry) (string, error) {
	taken, _, err := Start(entries)
	return taken.Slot, err
}

// Change returns what does the deed in the running slot: an entry to be there first, if any, and those to be removed
// after. A cut between the two leaves what was before, or what the entry alone brings about.
func (s SDBoot) Change(entries []Entry, running string, deed Deed) (add *Entry, remove []Entry, err error) {
	other, err := known([2]string{"a", "b"}, running, deed)
	if err != nil {
		return nil, nil, err
	}
	first, _, err := Start(entries)
	if err != nil && deed != Commit {
		return nil, nil, err
	}
	top := 0
	keep := map[string]Entry{} // by slot: the newest
	for _, e := range entries {
		top = max(top, e.Generation)
		if k, ok := keep[e.Slot]; !ok || e.Generation > k.Generation || e.Generation == k.Generation && Order(e, k) < 0 {
			keep[e.Slot] = e
		}
	}
	trusted := func(slot string) bool { return keep[slot] != Entry{} && !keep[slot].Counted }
	switch {
	case deed == Arm && trusted(running) && first.Slot == other && first.Counted && first.Left == 1: // it is armed
	case deed != Commit && !trusted(running) && trusted(other): // on trial: the other comes next anyway
		if keep[running].Left > 0 { // the loader could not count
			delete(keep, running)
		}
	case deed == Arm && !trusted(running):
		return nil, nil, fmt.Errorf("neither slot is trusted: commit slot %s first", running)
	case deed == Arm:
		keep[other] = Entry{Generation: top + 1, Slot: other, Counted: true, Left: 1}
	default: // commit, or disarm in a slot that is good
		e := keep[running]
		if e == (Entry{}) || trusted(other) && keep[other].Generation >= e.Generation {
			e.Generation = top + 1 // comes back, or goes before the other
		}
		keep[running] = Entry{Generation: e.Generation, Slot: running}
		if deed == Disarm || !trusted(other) {
			delete(keep, other)
		}
	}
	for _, slot := range []string{running, other} {
		if e, ok := keep[slot]; ok && !slices.Contains(entries, e) {
			if e.Generation > lastGeneration {
				return nil, nil, fmt.Errorf("generation %d: entries begin anew at 1 by hand", e.Generation)
			}
			add = &e
		}
	}
	for _, e := range entries {
		if k, ok := keep[e.Slot]; !ok || k != e {
			remove = append(remove, e)
		}
	}
	return add, remove, nil
}
