package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"holdfast/agent/shadow"
	"holdfast/board"
	"holdfast/board/strict"
)

// desiredName is the file the desired half is kept in.
const desiredName = "desired.json"

// desiredBytes bounds that file: three documents of the largest size and what was refused.
const desiredBytes = 192 << 10

// crashesAllowed is how often the agent may crash with a change on trial before the change is held to blame.
const crashesAllowed = 2

// desiredMembers bounds the members of that file: every one of the documents may take six bytes.
const desiredMembers = desiredBytes / 6

// desired keeps what the cloud wants: the last good document, which is in force after a start without network, and at
// most one on trial. A document becomes good when it has held for a while with the link up; until then a crash, or a
// link that does not come back, brings the last good one back.
type desired struct {
	files   board.Files
	doc     desiredDoc
	unsaved bool // what is on flash is older than doc
}

type desiredDoc struct {
	Good    kept            `json:"good"`
	Trial   *kept           `json:"trial,omitempty"`
	Before  *kept           `json:"before,omitempty"`  // was good before Good: what a repair goes back to
	Running bool            `json:"running,omitempty"` // an agent has Trial in force, and has not ended in order
	Crashes int             `json:"crashes,omitempty"` // ends of agents with Trial in force that were not in order
	Refused shadow.Refusals `json:"refused,omitempty"`
}

// kept is a document as it lies on flash.
type kept struct {
	Epoch   string         `json:"epoch,omitempty"`
	Version int64          `json:"version,omitempty"`
	State   map[string]any `json:"state,omitempty"`
}

func (k kept) document() shadow.Document {
	return shadow.Document{Epoch: k.Epoch, Version: k.Version, State: k.State}
}

// openDesired reads what is kept, and counts a crash if the agent before did not end in order. rolled says what was
// rolled back, if anything. The error means that what was kept cannot be read and is forgotten.
func openDesired(files board.Files) (d *desired, rolled string, err error) {
	d = &desired{files: files}
	b, err := files.ReadFile(desiredName, desiredBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return d, "", nil
	}
	if err == nil {
		err = strict.Unmarshal(b, &d.doc, strict.Limits{Bytes: desiredBytes, Depth: 24, Members: desiredMembers})
	}
	if err != nil {
		d.doc = desiredDoc{}
		return d, "", fmt.Errorf("desired state: %w", err)
	}
	if d.doc.Trial == nil {
		return d, "", nil
	}
	if d.doc.Running {
		d.doc.Crashes++
	}
	if d.doc.Running = true; d.doc.Crashes >= crashesAllowed {
		rolled = d.doc.Trial.label()
		_ = d.rollBack(fmt.Sprintf("rolled back: the agent crashed %d times with it", d.doc.Crashes)) // unsaved then
		return d, rolled, nil
	}
	_ = d.save() // unsaved then
	return d, "", nil
}

func (k kept) label() string {
	if k.Version == 0 {
		return k.Epoch
	}
	return fmt.Sprintf("%s/%d", k.Epoch, k.Version)
}

// inForce returns the document the settings follow.
func (d *desired) inForce() shadow.Document {
	if d.doc.Trial != nil {
		return d.doc.Trial.document()
	}
	return d.doc.Good.document()
}

// answered returns the lineage that reported names: that of the newest document the device has an opinion on, also when
// the opinion was to roll it back.
func (d *desired) answered() (epoch string, version int64) {
	in := d.inForce()
	for _, r := range d.doc.Refused {
		if r.Path == "" {
			return r.Epoch, r.Version
		}
	}
	return in.Epoch, in.Version
}

// take decides about a document that came. wanted is false when it is the one in force, an older one, or one that was
// rolled back before.
func (d *desired) take(doc shadow.Document) (wanted bool) {
	in := d.inForce()
	if doc.Epoch == in.Epoch && doc.Version == in.Version {
		d.forgive() // the operator came back to it from the one that was rolled back
		return false
	}
	if !doc.Newer(in) {
		return false
	}
	for _, r := range d.doc.Refused {
		if r.Path == "" && !doc.Newer(shadow.Document{Epoch: r.Epoch, Version: r.Version}) {
			return false
		}
	}
	return true
}

// forgive forgets a document that was rolled back.
func (d *desired) forgive() {
	if before := len(d.doc.Refused); before > 0 {
		d.doc.Refused.Drop("")
		d.unsaved = d.unsaved || len(d.doc.Refused) < before
	}
}

// try puts a document on trial. It is on flash before it is in force. Another one already on trial gives way: it was
// not yet known to be good, so the last good one stays what it was.
func (d *desired) try(doc shadow.Document) error {
	d.doc.Trial, d.doc.Running, d.doc.Crashes = &kept{doc.Epoch, doc.Version, doc.State}, true, 0
	d.doc.Refused.Drop("")
	return d.save()
}

// commit makes the document on trial the last good one.
func (d *desired) commit() error {
	if d.doc.Trial == nil {
		return nil
	}
	before := d.doc.Good
	d.doc.Good, d.doc.Trial, d.doc.Before, d.doc.Running, d.doc.Crashes = *d.doc.Trial, nil, &before, false, 0
	return d.save()
}

// canGoBack reports whether there is a document before the one in force.
func (d *desired) canGoBack() bool { return d.doc.Trial != nil || d.doc.Before != nil }

// rollBack brings the last good document back and remembers why; where none is on trial, the one that was good before it.
func (d *desired) rollBack(reason string) error {
	if d.doc.Trial == nil && d.doc.Before != nil {
		t := d.doc.Good
		d.doc.Good, d.doc.Before = *d.doc.Before, nil
		d.doc.Refused.Add("", t.State, t.document(), reason)
		return d.save()
	}
	if d.doc.Trial == nil {
		return nil
	}
	t := *d.doc.Trial
	d.doc.Trial, d.doc.Running, d.doc.Crashes = nil, false, 0
	d.doc.Refused.Add("", t.State, t.document(), reason)
	return d.save()
}

// rest notes an orderly stop: it does not count against a document on trial.
func (d *desired) rest() error {
	if !d.doc.Running && !d.unsaved {
		return nil
	}
	d.doc.Running = false
	return d.save()
}

func (d *desired) save() error {
	d.unsaved = true
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false) // which could make it six times as long
	err := to.Encode(&d.doc)
	if err == nil {
		err = d.files.WriteFile(desiredName, b.Bytes())
	}
	if err != nil {
		return fmt.Errorf("desired state: %w", err)
	}
	d.unsaved = false
	return nil
}

// trial watches over a document that has just come into force. It is a value of the core and asks no clock.
type trial struct {
	since time.Time // when it came into force; zero: nothing is on trial
	down  time.Time // since when the link is down; zero: it is up
}

// verdict says what is to be done at now.
func (t trial) verdict(now time.Time, hold, grace time.Duration) (commit bool, rollBack string) {
	switch {
	case t.since.IsZero():
		return false, ""
	case !t.down.IsZero() && now.Sub(t.down) >= grace && now.Sub(t.since) >= grace:
		return false, fmt.Sprintf("rolled back: the link did not come back within %s", grace)
	case t.down.IsZero() && now.Sub(t.since) >= hold:
		return true, ""
	}
	return false, ""
}
