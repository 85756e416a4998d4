package linux_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/linux"
	"holdfast/board/loaders"
)

// switched is a driver under test, which tells of each write.
type switched interface {
	board.Boot
	Watch(func())
}

// A shelf is a board whose bootloader keeps files: medium/ is what a power cut leaves, run/ what it forgets.
type shelf struct {
	t      *testing.T
	dir    string
	loader loader
	seen   func() // called after each write, by the driver or by the bootloader
}

// A loader is a bootloader with its driver.
type loader struct {
	name    string
	prepare map[string]string // files on the medium of a new board
	driver  func(dir string) (switched, error)
	// start plays the machine's start: it may write the medium, and says what is on the kernel's command line.
	start   func(s *shelf) (cmdline string, err error)
	forgets bool
	garble  func(s *shelf)
	// torn are files of which a sector may be lost while it is written: there is a copy.
	torn string
}

func newShelf(t *testing.T, l loader, medium map[string]string) *shelf {
	t.Helper()
	dir := inMemory(t)
	s := &shelf{t: t, dir: dir, loader: l, seen: func() {}}
	write(t, dir, "proc/self/mountinfo", root0)
	write(t, dir, "proc/cmdline", "")
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range medium {
		write(t, dir, "medium/"+name, text)
	}
	return s
}

func layoutOf(dir string) linux.Layout {
	return linux.Layout{Root: dir, Parts: paths("/dev/none-a", "/dev/none-b")}
}

// medium returns all files of the medium.
func (s *shelf) medium() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	root := filepath.Join(s.dir, "medium")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var raw []byte
			if raw, err = os.ReadFile(name); err == nil {
				all[strings.TrimPrefix(name, root+"/")] = string(raw)
			}
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// put is a write of the bootloader's.
func (s *shelf) put(name, text string) {
	write(s.t, s.dir, "medium/"+name, text)
	s.seen()
}

func (s *shelf) machine(cuts int) *boardtest.Machine {
	driver, err := s.loader.driver(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	driver.Watch(func() { s.seen() })
	m := &boardtest.Machine{Boot: driver, Forgets: s.loader.forgets, Garble: func() { s.loader.garble(s) }, Restart: func() error {
		line, err := s.loader.start(s)
		write(s.t, s.dir, "proc/cmdline", line+"\n")
		return err
	}}
	if cuts > 0 {
		m.Cuts = func(deed func()) iter.Seq[*boardtest.Machine] {
			return func(yield func(*boardtest.Machine) bool) {
				for _, medium := range s.left(deed) {
					if !yield(newShelf(s.t, s.loader, medium).machine(cuts - 1)) {
						return
					}
				}
			}
		}
	}
	return m
}

// left does the deed and returns what a cut in it may leave of the medium: between two writes, of the sectors that differ
// and the files that came or went each alone, a new file without its end, and, where there is a copy, a sector that cannot
// be read any more.
func (s *shelf) left(deed func()) []map[string]string {
	history := []map[string]string{s.medium()}
	s.seen = func() { history = append(history, s.medium()) }
	deed()
	s.seen = func() {}
	states := []map[string]string{history[0]}
	with := func(m map[string]string, name, text string) {
		one := maps.Clone(m)
		one[name] = text
		states = append(states, one)
	}
	for i, after := range history[1:] {
		before := history[i]
		for name, text := range after {
			old, there := before[name]
			gone := slices.DeleteFunc(slices.Sorted(maps.Keys(before)), func(n string) bool { _, stays := after[n]; return stays })
			switch {
			case !there && len(gone) == 1: // a rename: neither name. That both are there is left out, see docs/boards-slots.md
				neither := maps.Clone(before)
				delete(neither, gone[0])
				states = append(states, neither)
			case !there:
				with(before, name, "")
				with(before, name, text[:len(text)/2])
			case len(old) != len(text):
				s.t.Errorf("%s: a file that was there has another size", name)
			}
			for at := 0; there && at < len(text); at += loaders.SectorBytes {
				end := min(at+loaders.SectorBytes, len(text))
				if old[at:end] == text[at:end] {
					continue
				}
				with(before, name, old[:at]+text[at:end]+old[end:])
				if name == s.loader.torn {
					with(before, name, old[:at]+strings.Repeat("\xff", end-at)+old[end:])
				}
			}
		}
		states = append(states, after)
	}
	return slices.CompactFunc(states, maps.Equal)
}

// grubFiles is a new board's environment, twice.
func grubFiles(t *testing.T) map[string]string {
	t.Helper()
	zero, err := loaders.DecodeBlock([]byte("# GRUB Environment Block\n" + strings.Repeat("#", 999)))
	if err != nil {
		t.Fatal(err)
	}
	env, err := zero.Set([]string{"ORDER", "A_OK", "A_TRY", "B_OK", "B_TRY", "padding"}, map[string]string{"ORDER": "A B", "A_OK": "1",
		"A_TRY": "0", "B_OK": "1", "B_TRY": "0", "padding": padding}).Encode(5)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"grubenv": string(env), "grubenv.copy": string(env)}
}

// startGRUB is packaging/boot/slots.cfg; TestTheScriptIsWhatGRUBMakesOfIt compares the two.
func startGRUB(s *shelf) (string, error) {
	env, have := loaders.Block{}, false
	for _, name := range []string{"grubenv", "grubenv.copy"} {
		if b, err := loaders.DecodeBlock([]byte(s.medium()[name])); err == nil && !have {
			env, have = b, true
		}
	}
	if !have {
		return "rauc.slot=A", nil
	}
	name, env, err := loaders.GRUB{}.Start(env)
	if err != nil {
		return "", err
	}
	raw, err := env.Encode(5)
	if err != nil {
		return "", err
	}
	for _, file := range []string{"grubenv", "grubenv.copy"} {
		if _, err := loaders.DecodeBlock([]byte(s.medium()[file])); err == nil {
			s.put(file, string(raw))
		}
	}
	return "rauc.slot=" + name, nil
}

func grub(t *testing.T) loader {
	return loader{name: "grub", prepare: grubFiles(t), start: startGRUB, torn: "grubenv",
		driver: func(dir string) (switched, error) {
			return linux.NewGRUB(linux.GRUBOptions{Layout: layoutOf(dir), Env: dir + "/medium/grubenv", Copy: dir + "/medium/grubenv.copy"})
		},
		garble: func(s *shelf) {
			s.put("grubenv", strings.Repeat("garbage ", 128))
			s.put("grubenv.copy", "")
		}}
}

// startTryboot is the firmware of a Raspberry Pi after systemd's restart.
func startTryboot(s *shelf) (string, error) {
	parameter, err := os.ReadFile(filepath.Join(s.dir, "run/reboot-param"))
	if err == nil {
		err = os.Remove(filepath.Join(s.dir, "run/reboot-param"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	section, take := "[all]", ""
	for line := range strings.Lines(s.medium()["autoboot.txt"]) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		value, ok := strings.CutPrefix(line, "boot_partition=")
		if ok && (section == "[all]" || section == "[tryboot]" && string(parameter) == "0 tryboot\n") {
			take = value
		}
	}
	part := map[string]uint32{"2": 2, "3": 3}[take]
	if part == 0 {
		return "", fmt.Errorf("partition %q does not start", take)
	}
	write(s.t, s.dir, "sys/firmware/devicetree/base/chosen/bootloader/partition", string(binary.BigEndian.AppendUint32(nil, part)))
	return map[uint32]string{2: "rauc.slot=A", 3: "rauc.slot=B"}[part], nil
}

func tryboot() loader {
	return loader{name: "tryboot", forgets: true, start: startTryboot,
		prepare: map[string]string{"autoboot.txt": "# slots\n[all]\ntryboot_a_b=1\nboot_partition=2\n[tryboot]\nboot_partition=3\n"},
		driver: func(dir string) (switched, error) {
			return linux.NewTryboot(linux.TrybootOptions{Layout: layoutOf(dir), Autoboot: dir + "/medium/autoboot.txt", Parameter: dir + "/run/reboot-param"})
		},
		garble: func(s *shelf) { s.put("autoboot.txt", "\xff\xff") }}
}

const entryA, entryB = "title A\nlinux /a/vmlinuz\noptions rauc.slot=A\n", "title B\nlinux /b/vmlinuz\noptions rauc.slot=B quiet\n"

// startSDBoot is systemd-boot: it takes the first entry that starts something, and counts in its name.
func startSDBoot(s *shelf) (string, error) {
	var entries []loaders.Entry
	texts := map[loaders.Entry]string{}
	for name, text := range s.medium() {
		e, ok, err := loaders.ParseEntry(strings.TrimPrefix(name, "loader/entries/"))
		if err != nil {
			return "", err
		}
		if ok && strings.Contains(text, "linux /") {
			entries, texts[e] = append(entries, e), text
		}
	}
	taken, after, err := loaders.Start(entries)
	if err != nil {
		return "", err
	}
	if taken != after {
		dir := filepath.Join(s.dir, "medium/loader/entries")
		if err := os.Rename(filepath.Join(dir, taken.Name()), filepath.Join(dir, after.Name())); err != nil {
			return "", err
		}
		s.seen()
	}
	_, options, _ := strings.Cut(texts[taken], "options ")
	return strings.TrimSpace(options), nil
}

func sdboot() loader {
	return loader{name: "systemd-boot", start: startSDBoot,
		prepare: map[string]string{"loader/holdfast/a.conf": entryA, "loader/holdfast/b.conf": entryB,
			"loader/entries/holdfast-000001-a.conf": entryA, "loader/entries/debian.conf": "title other\nlinux /x\n"},
		driver: func(dir string) (switched, error) {
			return linux.NewSDBoot(linux.SDBootOptions{Layout: layoutOf(dir), ESP: dir + "/medium"})
		},
		garble: func(s *shelf) {
			dir := filepath.Join(s.dir, "medium/loader/entries")
			if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				s.t.Fatal(err)
			}
		}}
}

func TestBootloadersOfFilesKeepTheContract(t *testing.T) {
	for _, l := range []loader{grub(t), tryboot(), sdboot()} {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			boardtest.TestBoot(t, func(t *testing.T) *boardtest.Machine {
				m := newShelf(t, l, l.prepare).machine(2)
				if err := m.Restart(); err != nil {
					t.Fatal(err)
				}
				return m
			})
		})
	}
}

// running returns a shelf that has started slot a, and its driver.
func running(t *testing.T, l loader) (*shelf, *boardtest.Machine) {
	t.Helper()
	s := newShelf(t, l, l.prepare)
	m := s.machine(0)
	if err := m.Restart(); err != nil {
		t.Fatal(err)
	}
	return s, m
}

func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
