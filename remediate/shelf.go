package remediate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"holdfast/board"
	"holdfast/board/strict"
)

// alertsName is the document of the alerts that are open. It is written when one is raised or cleared, at most every ten
// seconds: a power cut in between raises the alert once more, or clears it once more. Counts of matches in it are those
// of the last such write.
const alertsName = "alerts.json"

const (
	savePause  = 10 * time.Second
	alertBytes = 1 << 10 // at most, of one alert in the document: key, description, names
	shelfBytes = maxOpen * alertBytes
	sealBytes  = 16
)

// A shelf is where the book is kept.
type shelf struct {
	files   board.Files
	changed bool
	written time.Time // the last attempt
}

// keptAlert is an alert as it lies on flash.
type keptAlert struct {
	Rule        string    `json:"rule"`
	Severity    string    `json:"severity"`
	Description string    `json:"description,omitempty"`
	Repair      string    `json:"repair,omitempty"`
	Key         []pair    `json:"key,omitempty"`
	Since       time.Time `json:"since"`
	Count       uint64    `json:"count"`
}

// saving is when the book is to be written, zero when nothing changed.
func (s *shelf) saving() time.Time {
	if !s.changed {
		return time.Time{}
	}
	return s.written.Add(savePause)
}

// save writes the book where it changed, and its time has come.
func (b *book) save(now time.Time) error {
	if !b.changed || now.Before(b.saving()) {
		return nil
	}
	b.written = now
	all := make([]keptAlert, len(b.open))
	for i, a := range b.open {
		all[i] = keptAlert{a.rule, a.severity, a.description, a.repair, a.key, a.since, a.count}
	}
	doc, err := json.Marshal(all)
	for err == nil && len(doc) > shelfBytes-sealBytes { // names of nothing but quotes take six bytes for each
		all = all[:len(all)/2]
		doc, err = json.Marshal(all)
	}
	if err == nil {
		err = b.files.WriteFile(alertsName, board.Seal(doc))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", alertsName, err)
	}
	b.changed = false
	return nil
}

// recall reads the book. Its alerts begin anew to be quiet, and to be reminded of.
func (b *book) recall(files board.Files, now time.Time) error {
	b.files = files
	doc, err := files.ReadFile(alertsName, shelfBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		doc, err = board.Unseal(doc)
	}
	var all []keptAlert
	if err == nil {
		err = strict.Unmarshal(doc, &all, strict.Limits{Bytes: shelfBytes, Depth: 4, Members: 40 * maxOpen})
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", alertsName, err)
	}
	for _, k := range all[:min(len(all), maxOpen)] {
		if len(k.Rule) > maxNameBytes || b.find(k.Rule, k.Key) != nil {
			continue
		}
		b.open = append(b.open, &alert{rule: k.Rule, severity: k.Severity, description: clip(k.Description, maxTextBytes), repair: k.Repair, key: k.Key,
			since: k.Since, last: now, reminded: now, count: k.Count})
	}
	return nil
}
