package linux

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"holdfast/board"
	"holdfast/board/strict"
)

// LinksFile is the one part that Links have.
const LinksFile = "file"

// linksBytes bounds the document; it has some 60 bytes.
const linksBytes = 512

// LinksOptions say where two files are that are switched as slots are.
type LinksOptions struct {
	// Dir holds the files "a" and "b", and the link "current" to one of them. It is made where it is missing.
	Dir string
	// Files keeps the document that says which is good, which is tried and which runs. Where several processes have the
	// same Links these are SharedFiles of Dir.
	Files board.Files
	// Document is the document's name, 1 to 95 letters as CheckName takes them.
	Document string
	// Bytes is how many a file may have.
	Bytes int64
	// Mode is the files' permissions; 0 means 0644. A program wants 0755.
	Mode os.FileMode
	// Log may be nil.
	Log *slog.Logger
}

// Links is a board.Boot and a board.Slots for what is no partition: the agent's own program, a bundle of content. Start
// stands for the bootloader: whoever runs what the link points to calls it before each run.
//
// The document alone decides. It is replaced as a whole, so that a power cut leaves the one of before or of after; the
// link follows it, and what the link says before Start does not matter.
type Links struct{ o LinksOptions }

// A linking is the document: sealed JSON.
type linking struct {
	Good    board.SlotID `json:"good"`            // what to go back to
	Try     board.SlotID `json:"try,omitempty"`   // what is armed, or on trial
	Spent   bool         `json:"spent,omitempty"` // Try has been started
	Running board.SlotID `json:"running,omitempty"`
}

// next is what the next Start runs.
func (l linking) next() board.SlotID {
	if l.Try != "" && !l.Spent {
		return l.Try
	}
	return l.Good
}

// NewLinks returns the switch. Without a document slot a is good, and nothing has been started.
func NewLinks(o LinksOptions) (*Links, error) {
	if err := board.CheckName(o.Document + ".none"); err != nil {
		return nil, fmt.Errorf("links: document: %w", err)
	}
	if o.Bytes <= 0 {
		return nil, fmt.Errorf("links: %d bytes: want some", o.Bytes)
	}
	if o.Mode == 0 {
		o.Mode = 0o644
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, fmt.Errorf("links: %w", err)
	}
	return &Links{o: o}, nil
}

// load returns the document. It may have been put in place by a write that was killed before its name was durable;
// what is believed here must not be undone by a power cut, so the names are synced first, as every Remove does.
func (l *Links) load() (linking, error) {
	if err := l.o.Files.Remove(l.o.Document + ".none"); err != nil {
		return linking{}, err
	}
	raw, err := l.o.Files.ReadFile(l.o.Document, linksBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return linking{Good: board.SlotA}, nil
	}
	if err != nil {
		return linking{}, err
	}
	doc, err := parseLinking(raw)
	if err != nil {
		return linking{}, fmt.Errorf("%s: %w", l.o.Document, err)
	}
	return doc, nil
}

func parseLinking(raw []byte) (linking, error) {
	body, err := board.Unseal(raw)
	if err != nil {
		return linking{}, err
	}
	var doc linking
	if err := strict.Unmarshal(body, &doc, strict.Limits{Bytes: linksBytes, Depth: 1, Members: 4}); err != nil {
		return linking{}, err
	}
	slot := func(id board.SlotID) bool { return id == board.SlotA || id == board.SlotB }
	if !slot(doc.Good) || doc.Try != "" && !slot(doc.Try) || doc.Running != "" && !slot(doc.Running) || doc.Spent && doc.Try == "" {
		return linking{}, fmt.Errorf("%.80q says what cannot be", body)
	}
	return doc, nil
}

// save writes the document, if it says something new. What it said is durable: load saw to that.
func (l *Links) save(before, after linking) error {
	if before == after {
		return nil
	}
	body, _ := json.Marshal(after) // texts and a bool
	return l.o.Files.WriteFile(l.o.Document, board.Seal(body))
}

// locked has one process at a time change the document: the one that starts what it points to, and the one that arms and
// commits.
func (l *Links) locked(change func() error) error {
	dir, err := os.Open(l.o.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", l.o.Dir, err)
	}
	return change()
}

// Start spends the try of a slot that is armed, or goes back to the good one, points the link there and returns the slot
// that is to run. It may be cut or fail anywhere and be called again; a try that was spent in a start that did not get to
// its end is lost.
func (l *Links) Start() (id board.SlotID, err error) {
	err = l.locked(func() error {
		if err := sweep(l.o.Dir); err != nil { // nobody writes there now
			return err
		}
		before, err := l.load()
		if err != nil {
			return err
		}
		after := linking{Good: before.Good, Running: before.next()}
		if before.Try != "" && !before.Spent {
			after.Try, after.Spent = before.Try, true
		}
		if err := l.save(before, after); err != nil {
			return err
		}
		id = after.Running
		return l.point(id)
	})
	if err != nil {
		return "", fmt.Errorf("start: %w", err)
	}
	return id, nil
}

// Good returns the slot to go back to: the one that is trusted, whatever is on trial.
func (l *Links) Good() (board.SlotID, error) {
	doc, err := l.load()
	return doc.Good, err
}

// point has the link point to the slot, durably.
func (l *Links) point(id board.SlotID) error {
	link, fresh := filepath.Join(l.o.Dir, "current"), filepath.Join(l.o.Dir, temporary+"current")
	if to, err := os.Readlink(link); err == nil && to == string(id) {
		return syncDir(l.o.Dir) // it may have been set in a start that was cut
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("link: %w", err)
	}
	if err := os.Symlink(string(id), fresh); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	if err := os.Rename(fresh, link); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	return syncDir(l.o.Dir)
}

// Unlink takes the link away, so that whoever runs what it points to takes what was there before all slots. The next
// Start makes it anew.
func (l *Links) Unlink() error {
	if err := os.Remove(filepath.Join(l.o.Dir, "current")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(l.o.Dir)
}

// Path returns where a slot's file is.
func (l *Links) Path(id board.SlotID) string { return filepath.Join(l.o.Dir, string(id)) }

// running returns the document of a machine on which something runs.
func (l *Links) running() (linking, error) {
	doc, err := l.load()
	if err == nil && doc.Running == "" {
		err = errors.New("nothing has been started yet")
	}
	return doc, err
}

// change replaces the document of a machine on which something runs.
func (l *Links) change(to func(linking) (linking, error)) error {
	return l.locked(func() error {
		doc, err := l.running()
		if err != nil {
			return err
		}
		after, err := to(doc)
		if err != nil {
			return err
		}
		return l.save(doc, after)
	})
}

// Facts implements board.Boot.
func (l *Links) Facts() (board.BootFacts, error) {
	doc, err := l.running()
	if err != nil {
		return board.BootFacts{}, fmt.Errorf("boot facts: %w", err)
	}
	return board.BootFacts{Booted: doc.Running, Next: doc.next()}, nil
}

// Arm implements board.Boot.
func (l *Links) Arm(id board.SlotID) error {
	err := l.change(func(doc linking) (linking, error) {
		if id != doc.Running.Other() {
			return doc, fmt.Errorf("want the other than %s, which is running", doc.Running)
		}
		return linking{Good: doc.Running, Try: id, Running: doc.Running}, nil
	})
	if err != nil {
		return fmt.Errorf("arm slot %.20q: %w", id, err)
	}
	return nil
}

// Disarm implements board.Boot.
func (l *Links) Disarm() error {
	err := l.change(func(doc linking) (linking, error) { return linking{Good: doc.Good, Running: doc.Running}, nil })
	if err != nil {
		return fmt.Errorf("disarm: %w", err)
	}
	return nil
}

// Commit implements board.Boot.
func (l *Links) Commit() error {
	err := l.change(func(doc linking) (linking, error) { return linking{Good: doc.Running, Running: doc.Running}, nil })
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// Parts implements board.Slots.
func (l *Links) Parts() []string { return []string{LinksFile} }

func (l *Links) check(id board.SlotID, part string) error {
	if part != LinksFile || id != board.SlotA && id != board.SlotB {
		return fmt.Errorf("slot %.20q has no part %.40q: %w", id, part, fs.ErrNotExist)
	}
	return nil
}

// Held reports whether somebody runs what a slot holds: whoever does keeps a shared lock on the file (flock(2)).
func (l *Links) Held(id board.SlotID) (bool, error) {
	file, err := os.OpenFile(l.Path(id), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer file.Close()
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// Room implements board.Slots.
func (l *Links) Room(id board.SlotID, part string) (int64, error) {
	return l.o.Bytes, l.check(id, part)
}

// Image implements board.Slots. The size is that of the file as it is now.
func (l *Links) Image(id board.SlotID, part string) (board.Image, int64, error) {
	if err := l.check(id, part); err != nil {
		return nil, 0, err
	}
	file, at, size, err := open(l.Path(id), os.O_RDONLY|unix.O_NOFOLLOW)
	if err == nil && at.block() {
		file.Close()
		err = errors.New("not a file")
	}
	if err != nil {
		return nil, 0, fmt.Errorf("image of slot %s: %w", id, err)
	}
	return linkImage{file}, size, nil
}

// Open implements board.Slots. With erase the file has no bytes until they are written; without, what it holds beyond
// what is written stays.
func (l *Links) Open(id board.SlotID, part string, erase bool) (board.Partition, error) {
	if err := l.check(id, part); err != nil {
		return board.Partition{}, err
	}
	m, err := l.open(id, erase)
	if err != nil {
		return board.Partition{}, fmt.Errorf("open slot %s: %w", id, err)
	}
	return board.Partition{Medium: m, Bytes: m.bytes}, nil
}

func (l *Links) open(id board.SlotID, erase bool) (*medium, error) {
	doc, err := l.running()
	if err != nil {
		return nil, err
	}
	if id == doc.Running {
		return nil, errors.New("it is running")
	}
	file, err := os.OpenFile(l.Path(id), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, l.o.Mode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("not a file")
	default:
		if err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			err = fmt.Errorf("it is open already: %w", err)
		}
	}
	if err == nil && erase {
		err = file.Truncate(0)
	}
	if err == nil {
		err = file.Chmod(l.o.Mode) // whatever the umask, and the file's before, were
	}
	if err == nil {
		err = syncDir(l.o.Dir) // its name
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &medium{file: file, bytes: l.o.Bytes, grows: true, log: l.o.Log}, nil
}

type linkImage struct{ *os.File }

// Fixed implements board.Image: Open has not got the file.
func (i linkImage) Fixed() (bool, error) { return unlocked(i.File) }
