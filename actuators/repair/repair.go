package repair

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"time"

	"holdfast/actuators"
	"holdfast/board"
	"holdfast/remediate/ladder"
)

// The documents, sealed, beside the limiter's.
const (
	bookFile  = "repairs"
	bootsFile = "boots"
	sealBytes = 10 // a newline, eight digits and a newline
)

// Options are what repairs need. What is asked of the system answers with why not, empty for nothing against it; nil is
// nothing against it, too.
type Options struct {
	Set       *actuators.Set               // the verbs of this board, each within the limits of its class; required
	Limiter   *actuators.Limiter           // the set's, whose time is the book's, too; required
	Files     board.Files                  // required
	Clock     board.Clock                  // required
	Playbooks func() (ladder.Shelf, error) // read anew each time; required
	Armed     []string                     // faults that are repaired; of the rest it is said what would be done
	Seed      uint64                       // of this device, for the back-off
	Off       func() string                // the kill switch
	Busy      func() string                // an update is under way or on trial
	Holds     func() string                // somebody asked for peace
	Sessions  func() string                // somebody works at the device
	Log       *slog.Logger                 // required
}

// Repairs does the rungs of playbooks. It has one owner, who does one deed at a time, and keeps nothing in memory between two
// questions.
type Repairs struct {
	o     Options
	armed map[string]bool
}

// New returns repairs.
func New(o Options) (*Repairs, error) {
	if o.Set == nil || o.Limiter == nil || o.Files == nil || o.Clock == nil || o.Playbooks == nil || o.Log == nil {
		return nil, errors.New("repairs: need a set of verbs, a limiter, files, a clock, playbooks and a log")
	}
	r := &Repairs{o: o, armed: map[string]bool{}}
	for _, fault := range o.Armed {
		if !ladder.IsFault(fault) {
			return nil, fmt.Errorf("repairs: armed: %q is no fault", fault)
		}
		r.armed[fault] = true
	}
	return r, nil
}

// now is what one question works with.
type now struct {
	boot     string
	up       time.Duration
	credited int64
	book     *ladder.Book
	boots    *ladder.Boots
	shelf    ladder.Shelf // what of it can be done here
	fault    error        // why some playbooks are not in force
}

// look reads the documents. One that is damaged is replaced at once by what is the safe side of it.
func (r *Repairs) look() (*now, error) {
	n := &now{}
	var credited time.Duration
	n.boot, n.up, credited = r.o.Limiter.Credited()
	n.credited = credited.Milliseconds()
	var err error
	raw, err := r.read(bookFile, ladder.BookBytes)
	if n.book = ladder.NewBook(); err == nil && raw != nil {
		n.book, err = ladder.ParseBook(raw)
	}
	if err != nil {
		r.o.Log.Error("the book of repairs is damaged; every limit counts as used up", "err", err)
		n.book = ladder.UsedUp(n.credited)
		if err := r.keep(n); err != nil {
			return nil, err
		}
	}
	n.book.Advance(n.credited)
	raw, err = r.read(bootsFile, ladder.BootsBytes)
	if n.boots = (&ladder.Boots{}); err == nil && raw != nil {
		n.boots, err = ladder.ParseBoots(raw)
	}
	if err != nil {
		r.o.Log.Error("the record of boots is damaged; two count as unclean", "err", err)
		n.boots = ladder.UnknownBoots(n.credited)
		if err := r.write(bootsFile, n.boots.Encode()); err != nil {
			return nil, err
		}
	}
	if n.boots.Stays(n.boot, n.up) { // a boot that has lasted leaves safe mode, whoever asks first
		if err := r.write(bootsFile, n.boots.Encode()); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// playbooks reads those that can be done on this board.
func (r *Repairs) playbooks(n *now) {
	n.shelf, n.fault = r.o.Playbooks()
	for _, fault := range slices.Sorted(maps.Keys(n.shelf)) {
		if err := r.fits(n.shelf[fault]); err != nil {
			delete(n.shelf, fault)
			n.fault = errors.Join(n.fault, err)
		}
	}
}

// read returns the body of a document, nil when there is none.
func (r *Repairs) read(name string, most int64) ([]byte, error) {
	raw, err := r.o.Files.ReadFile(name, most+sealBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		raw, err = board.Unseal(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return raw, nil
}

func (r *Repairs) write(name string, body []byte) error {
	if err := r.o.Files.WriteFile(name, board.Seal(body)); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// keep writes the book, and before it the time that is in it.
func (r *Repairs) keep(n *now) error {
	body := n.book.Encode()
	if len(body) > ladder.BookBytes {
		return fmt.Errorf("write %s: longer than %d bytes", bookFile, ladder.BookBytes)
	}
	if err := r.o.Limiter.Keep(); err != nil {
		return err
	}
	return r.write(bookFile, body)
}
