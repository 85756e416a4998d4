package linux

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"holdfast/board"
	"holdfast/board/loaders"
)

// SDBootOptions say where systemd-boot looks.
type SDBootOptions struct {
	Layout Layout // tells which slot the system runs from
	ESP    string // where the partition with loader/entries is mounted; "" is /boot/efi
}

// SDBoot is a board.Boot over the entries of systemd-boot. A slot's entry is made from the file loader/holdfast/a.conf or
// b.conf beside loader/entries; nothing is renamed, since a rename on FAT that is cut may leave no name.
type SDBoot struct {
	lever
	o     SDBootOptions
	means loaders.SDBoot
}

// NewSDBoot returns the bootloader. Nothing is read before the first call.
func NewSDBoot(o SDBootOptions) (*SDBoot, error) {
	if o.ESP == "" {
		o.ESP = "/boot/efi"
	}
	b := &SDBoot{o: o}
	b.lever = lever{layout: o.Layout, kind: b, after: func() {}}
	return b, o.Layout.Check()
}

// overriding are EFI variables that systemd-boot obeys before any counter.
var overriding = []string{"LoaderEntryOneShot", "LoaderEntryDefault"}

// mostEntries bounds the directory.
const mostEntries = 256

func (b *SDBoot) entry(name string) string { return filepath.Join(b.o.ESP, "loader/entries", name) }

// list returns our entries, and the names of those that start nothing: they were being made when the power went.
func (b *SDBoot) list() (entries []loaders.Entry, dead []string, err error) {
	for _, v := range overriding {
		if _, err := os.Stat(b.o.Layout.under("sys/firmware/efi/efivars/" + v + "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")); err == nil {
			return nil, nil, fmt.Errorf("EFI variable %s is set, and decides instead of the entries' names", v)
		}
	}
	dir, err := os.Open(b.entry(""))
	if err != nil {
		return nil, nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(mostEntries + 1)
	if len(names) > mostEntries {
		return nil, nil, fmt.Errorf("%s: more than %d entries", dir.Name(), mostEntries)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	for _, name := range names {
		e, ours, err := loaders.ParseEntry(name)
		if err != nil {
			return nil, nil, err
		}
		if !ours {
			continue
		}
		if e.Name() != name {
			return nil, nil, fmt.Errorf("entry %s: want it spelled %s", name, e.Name())
		}
		text, err := fromMedium(b.entry(name), loaders.SectorBytes)
		if err != nil {
			return nil, nil, err
		}
		if err := loaders.CheckEntry(text); errors.Is(err, loaders.ErrStartsNothing) {
			dead = append(dead, name)
			continue
		} else if err != nil { // it starts a slot, and is not removed
			return nil, nil, fmt.Errorf("entry %s: %w", name, err)
		}
		entries = append(entries, e)
	}
	return entries, dead, nil
}

func (b *SDBoot) next(board.SlotID) (board.SlotID, error) {
	entries, _, err := b.list()
	if err != nil {
		return "", err
	}
	next, err := b.means.Next(entries)
	return board.SlotID(next), err
}

func (b *SDBoot) change(booted board.SlotID, deed loaders.Deed) error {
	entries, dead, err := b.list()
	if err != nil {
		return err
	}
	add, gone, err := b.means.Change(entries, string(booted), deed)
	if err != nil {
		return err
	}
	for _, name := range dead {
		if err := b.remove(name); err != nil {
			return err
		}
	}
	want := len(entries) - len(gone)
	if add != nil {
		want++
		if err := b.make(*add); err != nil {
			return err
		}
	}
	for _, e := range gone {
		if err := b.remove(e.Name()); err != nil {
			return err
		}
	}
	got, _, err := b.list()
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if len(got) != want || add != nil && !slices.Contains(got, *add) {
		return fmt.Errorf("read back: %d entries, want %d", len(got), want)
	}
	return nil
}

func (b *SDBoot) remove(name string) error {
	defer b.after()
	return remove(b.entry(name))
}

// make makes an entry in two steps: at its full length as one that systemd-boot passes over, which takes room on the
// medium, then with its text, which is one sector that is there already.
func (b *SDBoot) make(e loaders.Entry) error {
	from := filepath.Join(b.o.ESP, "loader/holdfast", e.Slot+".conf")
	text, err := fromMedium(from, loaders.SectorBytes)
	if err != nil {
		return err
	}
	if err := loaders.CheckEntry(text); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	if err := settle(b.entry(e.Name()), loaders.Blank(text), b.after); err != nil {
		return err
	}
	return settle(b.entry(e.Name()), text, b.after)
}

// Doubts returns what may keep the bootloader from doing its part.
func (b *SDBoot) Doubts() (all []string) {
	for _, id := range []string{"a", "b"} {
		name := filepath.Join(b.o.ESP, "loader/holdfast", id+".conf")
		text, err := fromMedium(name, loaders.SectorBytes)
		if err == nil {
			err = loaders.CheckEntry(text)
		}
		all = doubt(all, name, err)
	}
	all = doubt(all, b.entry(""), unix.Access(b.entry(""), unix.W_OK))
	name := filepath.Join(b.o.ESP, "loader/loader.conf")
	text, err := readSmall(name, 16<<10)
	if err == nil && !slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		return slices.Equal(strings.Fields(line), []string{"default", "holdfast-*"})
	}) {
		err = errors.New("has no line default holdfast-*: another entry may go first")
	}
	return doubt(all, name, err)
}
