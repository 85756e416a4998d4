package shadow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"holdfast/cmd/holdfastctl/internal/client"
)

// ErrChanged means that somebody else wrote the desired document at the same time.
var ErrChanged = errors.New("somebody else changed it at the same time")

// ErrSilent means that the device did not report in time.
var ErrSilent = errors.New("the device has not answered")

// A Twin is one device's two documents, as they arrive over a connection that nothing else reads.
type Twin struct {
	// Desired is the newest document that holds: see advance.
	Desired, Reported       Document
	HasDesired, HasReported bool

	c      *client.Client
	device string
	stray  bool   // what the broker holds at this moment is not Desired
	reason string // why the device had refused a whole document before the last one was written
	heard  bool   // the device has reported since
}

func topic(device, half string) string { return "holdfast/" + device + "/shadow/" + half }

// Read fetches both halves.
func Read(ctx context.Context, c *client.Client, device string) (*Twin, error) {
	t := &Twin{c: c, device: device}
	kept, err := c.Retained(ctx, topic(device, "desired"), topic(device, "reported"))
	if err != nil {
		return nil, err
	}
	for _, m := range kept {
		if err := t.take(m); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// take enters a message. An empty one, which clears what is retained, is no document.
func (t *Twin) take(m client.Message) error {
	switch m.Topic {
	case topic(t.device, "desired"):
		if len(m.Payload) == 0 {
			t.Desired, t.HasDesired, t.stray = Document{}, false, false
			return nil
		}
		d, err := Parse(m.Payload)
		if err != nil {
			return fmt.Errorf("desired: %w", err)
		}
		t.stray = !t.advance(d)
	case topic(t.device, "reported"):
		d, err := Parse(m.Payload)
		if err != nil {
			return fmt.Errorf("reported: %w", err)
		}
		t.Reported, t.HasReported, t.heard = d, true, true
	}
	return nil
}

// advance makes d the document that holds, unless it was made from an older one than that. MQTT has no compare and swap,
// but everybody sees documents in the broker's order, devices too: of several with the same version the first holds. Who
// wrote another one sees that, and writes again, on top of the first. A first version of another lineage is taken for
// such a late one while there is a document.
func (t *Twin) advance(d Document) (holds bool) {
	if t.HasDesired && t.Desired.Epoch != "" && t.Desired.Version > 0 {
		if d.Epoch == t.Desired.Epoch && d.Version <= t.Desired.Version || d.Epoch != t.Desired.Epoch && d.Version == 1 {
			return false
		}
	}
	t.Desired, t.HasDesired = d, true
	return true
}

// tries is how often Write begins again; with eight writers at once about as many are needed.
const tries = 24

// Write publishes the state that change makes of the present one as the next version, and reads it back. When somebody
// else was first, it does so again on top of theirs; with once set it puts theirs back instead. The error is then, or
// when there is no end to it, ErrChanged.
func (t *Twin) Write(ctx context.Context, once bool, change func(state map[string]any) map[string]any) error {
	var lost error
	for try := range tries {
		next := t.Desired.Next(change(t.Desired.State))
		body, err := next.Encode()
		if err != nil {
			return fmt.Errorf("desired: %w", err)
		}
		t.reason, t.heard = t.Reported.Refused[""], false
		won, err := t.publish(ctx, mark(body))
		if err != nil {
			return err
		}
		if won {
			return lost
		}
		if once && lost == nil {
			lost = fmt.Errorf("version %d: %w", next.Version, ErrChanged)
			change = func(state map[string]any) map[string]any { return state }
		}
		if err := t.pause(ctx, time.Duration(rand.Int64N(int64(try+1)*int64(10*time.Millisecond)))); err != nil {
			return err
		}
	}
	return fmt.Errorf("version %d: %w", t.Desired.Version, ErrChanged)
}

// mark puts 24 random blanks after the opening brace: two writers may well write the same document, and each has to know
// its own when it comes back. To a reader of JSON it is nothing.
func mark(body []byte) []byte {
	out := []byte{body[0]}
	for bits, i := rand.Uint32(), 0; i < 24; bits, i = bits>>1, i+1 {
		out = append(out, " \t"[bits&1])
	}
	return append(out, body[1:]...)
}

// pause lets the others get through, and takes what they write.
func (t *Twin) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case m := <-t.c.Messages():
			if err := t.take(m); err != nil {
				return err
			}
		case <-timer.C:
			return nil
		case <-t.c.Lost():
			return t.c.Why()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publish sends and waits until it has read its own message back, taking what comes meanwhile. won says whether ours
// is the one that holds.
func (t *Twin) publish(ctx context.Context, body []byte) (won bool, err error) {
	sent := make(chan error, 1)
	go func() { sent <- t.c.Publish(ctx, topic(t.device, "desired"), body, true) }()
	// The broker has acknowledged, and keeps the document, only if it also sends it to us.
	var late <-chan time.Time
	back := false
	for sent != nil || !back {
		select {
		case err := <-sent:
			if err != nil {
				return false, err
			}
			timer := time.NewTimer(readBack)
			defer timer.Stop()
			sent, late = nil, timer.C
		case m := <-t.c.Messages():
			if err := t.take(m); err != nil {
				return false, err
			}
			if m.Topic == topic(t.device, "desired") && bytes.Equal(m.Payload, body) {
				back, won = true, !t.stray
			}
		case <-late:
			return false, fmt.Errorf("the broker took the document and did not keep it: %w", client.ErrDenied)
		case <-t.c.Lost():
			return false, t.c.Why()
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return won, nil
}

// readBack is how long after its acknowledgement a document may take to come back.
const readBack = 10 * time.Second

// secondThought is how long after the refusal of a whole document an answer to ours may still come: the refusal may be
// of the document before.
const secondThought = time.Second

// Await returns when the device has answered the desired version that was written last, with ErrSilent when ctx ends
// before, or with ErrChanged when what is desired is no longer of that lineage. A device that cannot read a document
// does not know its version, and refuses the empty path: that is an answer too.
func (t *Twin) Await(ctx context.Context) error {
	want := t.Desired
	var enough <-chan time.Time
	for !t.HasReported || !t.Reported.Answers(want) {
		if whole := t.Reported.Refused[""]; enough == nil && t.heard && whole != "" && whole != t.reason {
			timer := time.NewTimer(secondThought)
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case m := <-t.c.Messages():
			if err := t.take(m); err != nil {
				return err
			}
			if t.Desired.Epoch != want.Epoch {
				return fmt.Errorf("version %d: %w", want.Version, ErrChanged)
			}
		case <-enough:
			return nil
		case <-t.c.Lost():
			return t.c.Why()
		case <-ctx.Done():
			switch {
			case t.stray:
				return fmt.Errorf("version %d: %w", want.Version, ErrChanged)
			case t.heard && t.Reported.Refused[""] != "": // for the same reason as the one before
				return nil
			}
			return ErrSilent
		}
	}
	return nil
}
