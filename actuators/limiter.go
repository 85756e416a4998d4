package actuators

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"holdfast/board"
)

// A Limit is how many deeds of one class there may be in any hour and in any day. 0 means none at all.
type Limit struct {
	Class           string
	PerHour, PerDay int // 0 to 1,000
}

// Limits that hold where the local configuration sets no others.
var defaultLimits = []Limit{
	{Class: Reboot, PerHour: 3, PerDay: 10},
	{Class: Repair, PerHour: 20, PerDay: 100},
}

// An Uptime tells which boot this is and how long it has lasted, suspension included. The boot's name is never empty
// and never comes again; nobody can set this clock.
type Uptime func() (boot string, up time.Duration)

// A Limiter counts deeds in sliding windows that survive power cuts: a deed is on flash before it begins.
//
// Its windows move with credited time, which never runs faster than real time: within one boot the kernel's uptime
// counts; across boots, the new boot's uptime, and the whole gap by the wall clock only when that was trusted both when
// the document was written and now, and only forward. A clock that starts in 1970, jumps or is set back gains nobody
// anything. A Limiter has one owner, who does one deed at a time.
type Limiter struct {
	files  board.Files
	clock  board.Clock
	uptime Uptime
	limits map[string]Limit
	state  ledger
	fault  error
	anchor *anchor
}

// An anchor is the last trusted wall time of an earlier boot: what has passed since can be credited once this boot's
// clock is trusted too.
type anchor struct{ wallMS, creditMS int64 }

// NewLimiter reads the deeds counted so far from files. Limits not given are 3 reboots an hour and 10 a day, 20 repairs
// an hour and 100 a day. With a nil uptime only the time of this process and the trusted wall clock are credited.
//
// A document that cannot be read or does not parse is not taken for an empty one: every limit then counts as used up
// now, and Fault says why.
func NewLimiter(files board.Files, clock board.Clock, uptime Uptime, limits ...Limit) (*Limiter, error) {
	l := &Limiter{files: files, clock: clock, uptime: uptime, limits: map[string]Limit{}}
	for _, limit := range append(slices.Clone(defaultLimits), limits...) {
		switch {
		case limit.Class == "" || len(limit.Class) > 32:
			return nil, fmt.Errorf("limit %q: wants a class of 1 to 32 bytes", clip(limit.Class))
		case limit.PerHour < 0 || limit.PerDay < 0 || limit.PerHour > mostDeeds || limit.PerDay > mostDeeds:
			return nil, fmt.Errorf("limit %s: %d an hour and %d a day: wants 0 to %d", limit.Class, limit.PerHour,
				limit.PerDay, mostDeeds)
		}
		l.limits[limit.Class] = limit
	}
	if len(l.limits) > mostClasses {
		return nil, fmt.Errorf("limits: %d classes, at most %d", len(l.limits), mostClasses)
	}
	if uptime == nil {
		boot, start := "process-"+rand.Text(), clock.Now()
		l.uptime = func() (string, time.Duration) { return boot, clock.Now().Sub(start) }
	}
	l.load()
	return l, nil
}

func (l *Limiter) load() {
	raw, err := l.files.ReadFile(limitsFile, ledgerBytes)
	if err == nil {
		err = l.state.parse(raw)
	} else if errors.Is(err, fs.ErrNotExist) {
		l.state = ledger{Deeds: map[string][]int64{}}
		l.advance()
		return
	}
	if err == nil {
		if boot, _ := l.uptime(); boot != l.state.Boot && l.state.Trusted {
			l.anchor = &anchor{l.state.WallMS, l.state.CreditMS}
		}
		l.advance()
		return
	}
	l.fault = fmt.Errorf("read %s: %w; every limit counts as used up", limitsFile, err)
	l.state = ledger{Deeds: map[string][]int64{}}
	l.advance()
	for class, limit := range l.limits {
		l.state.Deeds[class] = slices.Repeat([]int64{l.state.CreditMS}, max(limit.PerHour, limit.PerDay))
	}
	// Written at once: a process that starts for each deed would otherwise never see the day pass.
	if err := l.save(); err != nil {
		l.fault = errors.Join(l.fault, err)
	}
}

// Fault returns what was wrong with the document when it was read, for the log and the status; nil when nothing was.
func (l *Limiter) Fault() error { return l.fault }

func (l *Limiter) knows(class string) bool { _, ok := l.limits[class]; return ok }

// Classes returns the classes that are counted, sorted.
func (l *Limiter) Classes() []string { return slices.Sorted(maps.Keys(l.limits)) }

// Left returns how many deeds of the class may still be done now, and when one more than that may be: 0 when some are
// left.
func (l *Limiter) Left(class string) (left int, wait time.Duration) {
	l.advance()
	limit, ok := l.limits[class]
	if !ok {
		return 0, day
	}
	hourLeft, hourWait := l.window(class, limit.PerHour, time.Hour)
	dayLeft, dayWait := l.window(class, limit.PerDay, day)
	return min(hourLeft, dayLeft), max(hourWait, dayWait)
}

const day = 24 * time.Hour

// window returns how many of most deeds are left in the last span, and how long until one is when none is.
func (l *Limiter) window(class string, most int, span time.Duration) (left int, wait time.Duration) {
	if most == 0 {
		return 0, span
	}
	deeds := l.state.Deeds[class]
	recent := 0
	for _, at := range deeds {
		if l.state.CreditMS-at < span.Milliseconds() {
			recent++
		}
	}
	if recent < most {
		return most - recent, 0
	}
	// The most-th deed from the end has to leave the window.
	age := time.Duration(l.state.CreditMS-deeds[len(deeds)-most]) * time.Millisecond
	return 0, max(time.Millisecond, span-age)
}

// Take counts one deed of the class, durably, and returns nil: the deed may begin. Otherwise the error is ErrLimited
// and nothing is counted: the limit is reached, or the count cannot be written, and what cannot be counted cannot be
// bounded.
func (l *Limiter) Take(class string) error {
	limit, ok := l.limits[class]
	if !ok {
		return fmt.Errorf("%s: %w: none is set for this class", clip(class), ErrLimited)
	}
	if _, wait := l.Left(class); wait > 0 {
		return fmt.Errorf("%s: %w: %d an hour, %d a day; free again in %v of uptime", class, ErrLimited, limit.PerHour,
			limit.PerDay, wait.Round(time.Second))
	}
	before := l.state.Deeds[class]
	l.state.Deeds[class] = append(slices.Clone(before), l.state.CreditMS)
	if err := l.save(); err != nil {
		l.state.Deeds[class] = before
		return fmt.Errorf("%s: %w: %w", class, ErrLimited, err)
	}
	return nil
}

// Credited returns which boot this is, how long it has lasted, and the credited time, for whoever keeps windows of its own.
func (l *Limiter) Credited() (boot string, up, credited time.Duration) {
	l.advance()
	boot, up = l.uptime()
	return boot, up, time.Duration(l.state.CreditMS) * time.Millisecond
}

// Keep writes the credited time down. Who writes such a time to flash has it kept first: after a power cut the credited time
// is not before it then.
func (l *Limiter) Keep() error {
	l.advance()
	return l.save()
}

// advance credits the time since the last call and drops what has left every window.
func (l *Limiter) advance() {
	boot, up := l.uptime()
	upMS := up.Milliseconds()
	switch {
	case boot != l.state.Boot:
		l.state.CreditMS += min(max(0, upMS), creditCeilingMS)
	case upMS > l.state.UpMS:
		l.state.CreditMS += min(upMS-l.state.UpMS, creditCeilingMS)
	default:
		upMS = l.state.UpMS
	}
	l.state.Boot, l.state.UpMS = boot, upMS
	l.state.WallMS, l.state.Trusted = l.clock.Now().UnixMilli(), l.clock.Trusted()
	if l.anchor != nil && l.state.Trusted {
		gap := l.state.WallMS - l.anchor.wallMS - (l.state.CreditMS - l.anchor.creditMS)
		l.state.CreditMS += min(max(0, gap), creditCeilingMS)
		l.anchor = nil
	}
	for class, deeds := range l.state.Deeds {
		l.state.Deeds[class] = slices.DeleteFunc(slices.Clone(deeds), func(at int64) bool {
			return l.state.CreditMS-at >= day.Milliseconds()
		})
	}
}

func (l *Limiter) save() error {
	if err := l.files.WriteFile(limitsFile, l.state.encode()); err != nil {
		return fmt.Errorf("write %s: %w", limitsFile, err)
	}
	return nil
}
