package actuators

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"holdfast/board"
	"holdfast/board/strict"
)

const (
	limitsFile      = "limits" // the document's name in board.Files
	ledgerBytes     = 256 << 10
	mostDeeds       = 1000
	mostClasses     = 16
	creditCeilingMS = 2 * 24 * 3600 * 1000 // no window is longer than a day, so more credit at once says no more
)

// A ledger is the limiter's document: one JSON object, sealed.
type ledger struct {
	Boot     string             `json:"boot"`
	UpMS     int64              `json:"up_ms"`     // uptime of Boot when it was written
	CreditMS int64              `json:"credit_ms"` // the time its windows move with
	WallMS   int64              `json:"wall_ms"`   // Unix time when it was written
	Trusted  bool               `json:"trusted"`
	Deeds    map[string][]int64 `json:"deeds"` // by class, when in credited time, ascending
}

func (l *ledger) encode() []byte {
	body, _ := json.Marshal(l) // a struct of numbers, texts and maps always marshals
	return board.Seal(body)
}

func (l *ledger) parse(raw []byte) error {
	body, err := board.Unseal(raw)
	if err != nil {
		return err
	}
	var read ledger
	if err := strict.Unmarshal(body, &read, strict.Limits{Bytes: ledgerBytes, Depth: 3, Members: mostClasses * (mostDeeds + 2)}); err != nil {
		return err
	}
	if err := read.valid(); err != nil {
		return err
	}
	*l = read
	return nil
}

func (l *ledger) valid() error {
	switch {
	case l.Boot == "" || l.Deeds == nil:
		return errors.New("no boot or no deeds")
	case l.UpMS < 0 || l.CreditMS < 0 || l.CreditMS > 1<<53 || l.UpMS > 1<<53:
		return errors.New("a time is out of range")
	case len(l.Deeds) > mostClasses:
		return errors.New("too many classes")
	}
	for class, deeds := range l.Deeds {
		if len(deeds) > mostDeeds || !slices.IsSorted(deeds) {
			return fmt.Errorf("%s: too many deeds, or out of order", clip(class))
		}
		if n := len(deeds); n > 0 && (deeds[0] < 0 || deeds[n-1] > l.CreditMS) {
			return fmt.Errorf("%s: a deed is out of range", clip(class))
		}
	}
	return nil
}
