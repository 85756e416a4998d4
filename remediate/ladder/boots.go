package ladder

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/board/strict"
)

// BootsBytes bounds the record of boots as it is written.
const BootsBytes = 4 << 10

// The boot-loop guard.
const (
	uncleanMost = 3                // unclean boots in a row
	uncleanMS   = 10 * minuteMS    // that began within this time lead to safe mode
	Lasting     = 10 * time.Minute // of its own uptime: a boot that lasted is not unclean, however it ends
	SafeLasting = time.Hour        // likewise, and safe mode is left
)

// Boots is how the last boots ended. A boot is unclean when it neither ended in order nor lasted ten minutes of its own
// uptime. Three of them in a row are a loop, unless the credited time shows that they began farther apart than ten minutes in
// all: it never runs faster than real time, so they did. No clock is trusted beyond that.
type Boots struct {
	Boot    string  `json:"boot"`     // that runs, or ran last; empty before the first
	StartMS int64   `json:"start_ms"` // credited, when the agent said that it began
	Lasted  bool    `json:"lasted"`
	Ended   bool    `json:"ended"`
	Unclean []int64 `json:"unclean_ms"` // when the last unclean boots in a row began, at most three
	Safe    *Safe   `json:"safe,omitempty"`
}

// Safe is safe mode: telemetry and updates, and nothing is repaired.
type Safe struct {
	Why  string `json:"why"`
	Boot string `json:"boot"`  // in which it was entered
	UpMS int64  `json:"up_ms"` // uptime of that boot
}

// UnknownBoots is the record where the real one is lost. Nobody knows how the last boots ended, so two count as unclean: one
// more leads to safe mode.
func UnknownBoots(now int64) *Boots { return &Boots{Unclean: []int64{now, now}} }

// Encode writes the record as one line of JSON.
func (b *Boots) Encode() []byte {
	text, _ := json.Marshal(b) // numbers, texts and truths always marshal
	return text
}

// ParseBoots reads what Encode wrote.
func ParseBoots(text []byte) (*Boots, error) {
	var b Boots
	err := strict.Unmarshal(text, &b, strict.Limits{Bytes: BootsBytes, Depth: 2, Members: 16})
	if err == nil {
		if len(b.Boot) > 128 || b.StartMS < 0 || b.StartMS > mostMS || len(b.Unclean) > uncleanMost ||
			slices.ContainsFunc(b.Unclean, func(ms int64) bool { return ms < 0 || ms > mostMS }) ||
			b.Safe != nil && (len(b.Safe.Why) > maxText || len(b.Safe.Boot) > 128 || b.Safe.UpMS < 0 || b.Safe.UpMS > mostMS) {
			err = errors.New("a value is out of range")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("record of boots: %w", err)
	}
	return &b, nil
}

// Began says that the agent has started in a boot that has been up for so long, at a credited time. An agent that starts
// again in one boot is no boot.
func (b *Boots) Began(boot string, up time.Duration, now int64) {
	if boot == b.Boot {
		b.Ended = false
		b.Stays(boot, up)
		return
	}
	switch {
	case b.Boot == "": // the first that is heard of
	case b.Lasted || b.Ended:
		b.Unclean = nil
	default:
		b.Unclean = append(b.Unclean, b.StartMS)
		b.Unclean = b.Unclean[max(0, len(b.Unclean)-uncleanMost):]
	}
	b.Boot, b.StartMS, b.Lasted, b.Ended = boot, now, false, false
	if n := len(b.Unclean); n == uncleanMost && b.Unclean[n-1]-b.Unclean[0] <= uncleanMS && b.Safe == nil {
		b.Enter("three boots in a row ended neither in order nor after ten minutes", boot, 0)
	}
	b.Stays(boot, up)
}

// Stays says for how long a boot has been up, and reports whether that changes something: after ten minutes it is not
// unclean any more, and after an hour safe mode is left.
func (b *Boots) Stays(boot string, up time.Duration) (changed bool) {
	if boot != b.Boot {
		return false
	}
	if up >= Lasting && !b.Lasted {
		b.Lasted, b.Unclean, changed = true, nil, true
	}
	if b.Safe != nil && b.left(up) <= 0 {
		b.Safe, changed = nil, true
	}
	return changed
}

// left is how long it is until safe mode is left.
func (b *Boots) left(up time.Duration) time.Duration {
	if b.Safe.Boot == b.Boot {
		up -= time.Duration(b.Safe.UpMS) * time.Millisecond
	}
	return SafeLasting - up
}

// Until returns how long it is until Stays changes something, 0 for never.
func (b *Boots) Until(up time.Duration) time.Duration {
	switch {
	case !b.Lasted && up < Lasting:
		return Lasting - up
	case b.Safe != nil:
		return max(time.Second, b.left(up))
	}
	return 0
}

// End says that the agent ends in order.
func (b *Boots) End(boot string) {
	if boot == b.Boot {
		b.Ended = true
	}
}

// Enter enters safe mode, in a boot that has been up for so long.
func (b *Boots) Enter(why, boot string, up time.Duration) {
	b.Safe = &Safe{Why: why, Boot: boot, UpMS: up.Milliseconds()}
}

// Leave leaves safe mode. The boots before do not count any more.
func (b *Boots) Leave() { b.Safe, b.Unclean = nil, nil }
