package update

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"holdfast/board"
	"holdfast/board/strict"
)

// A Journal is the engine's memory across restarts: one small document, replaced whole.
type Journal struct {
	Phase   Phase        `json:"phase"`
	Job     Job          `json:"job"`
	Began   time.Time    `json:"began,omitzero"`
	Trusted bool         `json:"trusted,omitempty"` // Began is
	Release Release      `json:"release"`
	From    board.SlotID `json:"from,omitempty"`   // the slot that ran when the job was accepted
	Target  board.SlotID `json:"target,omitempty"` // the slot that is written
	Part    int          `json:"part,omitempty"`   // of the manifest, the part that is made next
	Segment int          `json:"segment,omitempty"`
	Full    bool         `json:"full,omitempty"`    // nothing is made from the running system
	Erase   bool         `json:"erase,omitempty"`   // nothing is known of what the slot holds: it is given up first
	Armed   bool         `json:"armed,omitempty"`   // the bootloader was told, and said so
	Arms    int          `json:"arms,omitempty"`    // how often it was told
	Trials  int          `json:"trials,omitempty"`  // begun: starts of the target that came as far as this program
	Cuts    int          `json:"cuts,omitempty"`    // trials that a power cut ended
	Verdict string       `json:"verdict,omitempty"` // why the system on trial is no good; written before it is restarted
	Boot    string       `json:"boot,omitempty"`    // the start of the machine that was counted last in Trials
	Paused  bool         `json:"paused,omitempty"`
	Retry   time.Time    `json:"retry,omitzero"` // the next trial is not before
	Before  *Health      `json:"before,omitempty"`
	Last    *Outcome     `json:"last,omitempty"` // of the job before
}

const (
	journalBytes = 32 << 10
	documentDeep = 6
)

// A store keeps the engine's documents: names begin with the kind of thing that is moved, so that several engines can
// share a directory.
type store struct {
	files  board.Files
	prefix string
	once   bool // the floor is kept once: a mutant's
}

// read fills v from a document. found is false when there is none.
func (s store) read(name string, limitBytes int, v any) (found bool, err error) {
	raw, err := s.files.ReadFile(s.prefix+name, int64(limitBytes))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		if raw, err = board.Unseal(raw); err == nil {
			err = strict.Unmarshal(raw, v, strict.Limits{Bytes: limitBytes, Depth: documentDeep, Members: limitBytes / 8})
		}
	}
	if err != nil {
		return true, fmt.Errorf("read %s: %w", s.prefix+name, err)
	}
	return true, nil
}

func (s store) write(name string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", s.prefix+name, err)
	}
	if err := s.files.WriteFile(s.prefix+name, board.Seal(body)); err != nil {
		return fmt.Errorf("write %s: %w", s.prefix+name, err)
	}
	return nil
}

// loadJournal reads the journal. A damaged one is an error together with an empty one: the bootloader and the trial then
// decide alone.
func (s store) loadJournal() (Journal, error) {
	var j Journal
	_, err := s.read("journal", journalBytes, &j)
	if err == nil {
		err = j.valid()
	}
	if err != nil {
		return Journal{}, err
	}
	return j, nil
}

func (j *Journal) valid() error {
	switch j.Phase {
	case Idle, Checking:
		return nil
	case Staging, Staged, Arming:
	default:
		return fmt.Errorf("journal: no phase %.20q", j.Phase)
	}
	switch {
	case j.From != board.SlotA && j.From != board.SlotB || j.Target != j.From.Other():
		return fmt.Errorf("journal: from slot %.20q to %.20q", j.From, j.Target)
	case j.Part < 0 || j.Segment < 0 || j.Arms < 0 || j.Trials < 0 || j.Cuts < 0:
		return errors.New("journal: a count is negative")
	}
	return nil
}
