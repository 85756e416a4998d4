package ladder

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"holdfast/board/strict"
)

// BookBytes bounds a book as it is written.
const BookBytes = 32 << 10

const (
	hourMS     = int64(time.Hour / time.Millisecond)
	dayMS      = 24 * hourMS
	minuteMS   = int64(time.Minute / time.Millisecond)
	mostFaults = 64
	mostDeeds  = 600            // of all faults in a day: with 64 faults they fit into BookBytes
	mostTries  = 6              // 1 min doubled so often is more than an hour
	graceMS    = hourMS         // what a repair may take beyond its timeout and settle time, for windows and a start
	mostMS     = int64(1) << 53 // the largest time that a JSON number holds
)

// A Book is what repairs were done and at which rung each fault stands. Whoever has it writes it down after each change and
// before the deed. Its times are credited milliseconds; Advance is to be called before anything else.
type Book struct {
	AtMS    int64             `json:"at_ms"`             // of the last Advance
	Repairs int64             `json:"repairs"`           // rungs ever done; it never falls
	UsedMS  *int64            `json:"used_ms,omitempty"` // every limit counts as used up at this time
	Faults  map[string]*Entry `json:"faults"`
	Now     *Repair           `json:"now,omitempty"`
}

// An Entry is how one fault stands.
type Entry struct {
	Next    int     `json:"next"`     // the rung the next repair begins with, as of SinceMS; each hour since then is one down
	Tries   int     `json:"tries"`    // how often the back-off was doubled; each hour is one down, too
	SinceMS int64   `json:"since_ms"` // the end of the last repair, then moved on by whole hours
	ReadyMS int64   `json:"ready_ms"` // the end of the back-off
	Cuts    int     `json:"cuts"`     // times in a row that a rung was cut off and is to be tried again
	DeedsMS []int64 `json:"deeds_ms"` // of the last day, ascending
}

// A Repair is a rung that was counted and has not ended.
type Repair struct {
	Fault    string            `json:"fault"`
	Rung     int               `json:"rung"`
	Name     string            `json:"name"`
	Boot     string            `json:"boot"` // in which it began
	Restarts bool              `json:"restarts"`
	AtMS     int64             `json:"at_ms"`
	UntilMS  int64             `json:"until_ms"` // then it counts as one that did not help
	Values   map[string]string `json:"values"`   // for the undo
}

// NewBook returns the book of a device that was never repaired.
func NewBook() *Book { return &Book{Faults: map[string]*Entry{}} }

// UsedUp returns a book in which every limit counts as used up now, for when the real one is lost.
func UsedUp(now int64) *Book {
	b := NewBook()
	b.AtMS, b.UsedMS = now, &now
	return b
}

// Encode writes the book as one line of JSON.
func (b *Book) Encode() []byte {
	text, _ := json.Marshal(b) // numbers, texts and maps always marshal
	return text
}

// ParseBook reads what Encode wrote.
func ParseBook(text []byte) (*Book, error) {
	var b Book
	if err := strict.Unmarshal(text, &b, strict.Limits{Bytes: BookBytes, Depth: 5, Members: mostFaults*8 + mostDeeds + MaxValues + 32}); err != nil {
		return nil, fmt.Errorf("book of repairs: %w", err)
	}
	if err := b.valid(); err != nil {
		return nil, fmt.Errorf("book of repairs: %w", err)
	}
	return &b, nil
}

func (b *Book) valid() error {
	within := func(ms int64) bool { return ms >= 0 && ms <= mostMS }
	if !within(b.AtMS) || !within(b.Repairs) || b.UsedMS != nil && (!within(*b.UsedMS) || *b.UsedMS > b.AtMS) || b.Faults == nil {
		return errors.New("a number is out of range")
	}
	if len(b.Faults) > mostFaults || b.deeds() > mostDeeds {
		return errors.New("too many faults or deeds")
	}
	for fault, e := range b.Faults {
		n := 0
		if e != nil {
			n = len(e.DeedsMS)
		}
		switch {
		case !faultPattern(fault) || e == nil:
			return fmt.Errorf("%q is no fault", clip(fault))
		case e.Next < 0 || e.Next >= MaxRungs || e.Tries < 0 || e.Tries > mostTries || e.Cuts < 0 || e.Cuts > 1:
			return fmt.Errorf("%s: a number is out of range", fault)
		case !within(e.SinceMS) || e.SinceMS > b.AtMS || !within(e.ReadyMS) || e.ReadyMS > b.AtMS+hourMS:
			return fmt.Errorf("%s: a time is out of range", fault)
		case !slices.IsSorted(e.DeedsMS) || n > 0 && (e.DeedsMS[0] < 0 || e.DeedsMS[n-1] > b.AtMS):
			return fmt.Errorf("%s: deeds out of order or range", fault)
		}
	}
	if r := b.Now; r != nil {
		if b.Faults[r.Fault] == nil || r.Rung < 0 || r.Rung >= MaxRungs || len(r.Boot) > 128 || !rungPattern(r.Name) || !within(r.AtMS) || r.AtMS > b.AtMS ||
			r.UntilMS < r.AtMS || r.UntilMS > b.AtMS+graceMS+int64((maxTimeout+maxSettle)/time.Millisecond) || len(r.Values) > MaxValues {
			return errors.New("the repair under way is out of range")
		}
	}
	return nil
}

// deeds counts those of all faults.
func (b *Book) deeds() (n int) {
	for _, e := range b.Faults {
		if e != nil {
			n += len(e.DeedsMS)
		}
	}
	return n
}

// Advance moves the book's time: what is older than a day is forgotten, and each hour of health takes a fault one rung down.
// A time before the last one means that the time was lost: every limit counts as used up then.
func (b *Book) Advance(now int64) {
	if now < b.AtMS {
		lost := UsedUp(now)
		lost.Repairs = b.Repairs
		for fault, e := range b.Faults {
			lost.Faults[fault] = &Entry{Next: e.Next, Tries: e.Tries, SinceMS: now, ReadyMS: now}
		}
		if b.Now != nil {
			r := *b.Now
			r.AtMS, r.UntilMS = now, now+b.Now.UntilMS-b.Now.AtMS
			lost.Now = &r
		}
		*b = *lost
	}
	b.AtMS = now
	if b.UsedMS != nil && now-*b.UsedMS >= dayMS {
		b.UsedMS = nil
	}
	for fault, e := range b.Faults {
		e.DeedsMS = slices.DeleteFunc(e.DeedsMS, func(at int64) bool { return now-at >= dayMS })
		if b.Now != nil && b.Now.Fault == fault {
			continue // it is not healthy
		}
		if hours := (now - e.SinceMS) / hourMS; hours > 0 {
			down := int(min(hours, MaxRungs))
			e.Next, e.Tries, e.SinceMS, e.Cuts = max(0, e.Next-down), max(0, e.Tries-down), e.SinceMS+hours*hourMS, 0
		}
		if e.Next == 0 && e.Tries == 0 && len(e.DeedsMS) == 0 && e.ReadyMS <= now {
			delete(b.Faults, fault)
		}
	}
}

// Rung returns which rung of a playbook is next.
func (b *Book) Rung(p *Playbook) int {
	if e := b.Faults[p.Fault]; e != nil {
		return min(e.Next, len(p.Rungs)-1)
	}
	return 0
}

// Deeds returns how many rungs were done for a fault in the last hour and day.
func (b *Book) Deeds(fault string) (hour, day int) {
	if e := b.Faults[fault]; e != nil {
		for _, at := range e.DeedsMS {
			if b.AtMS-at < hourMS {
				hour++
			}
		}
		day = len(e.DeedsMS)
	}
	return hour, day
}

// Wait returns how long it is until the next rung of a playbook may be done, as far as the book knows, and why; 0 for now.
func (b *Book) Wait(p *Playbook) (ms int64, why string) {
	longer := func(until int64, reason string) {
		if d := until - b.AtMS; d > ms {
			ms, why = d, reason
		}
	}
	if e := b.Faults[p.Fault]; e != nil {
		longer(e.ReadyMS, "the back-off after the last repair is not over")
		if p.Rungs[b.Rung(p)].Counted() {
			if hour, day := b.Deeds(p.Fault); hour >= p.PerHour {
				longer(e.DeedsMS[day-p.PerHour]+hourMS, fmt.Sprintf("the limit of %d repairs of this fault an hour is reached", p.PerHour))
			}
			if n := len(e.DeedsMS); n >= p.PerDay {
				longer(e.DeedsMS[n-p.PerDay]+dayMS, fmt.Sprintf("the limit of %d repairs of this fault a day is reached", p.PerDay))
			}
		}
	}
	if b.UsedMS != nil && p.Rungs[b.Rung(p)].Counted() {
		longer(*b.UsedMS+dayMS, "the record of repairs was damaged, so that every limit counts as used up")
	}
	return ms, why
}

// Begin counts the next rung of a playbook. Nothing is counted with an error: another rung is next, or the book is full.
// Whoever called Wait before knows that it may be done.
func (b *Book) Begin(p *Playbook, rung int, boot string, values map[string]string) error {
	if next := b.Rung(p); rung != next {
		return fmt.Errorf("rung %d of %s: %d is next", rung, p.Fault, next)
	}
	if b.Now != nil {
		return fmt.Errorf("a repair of %s is under way", b.Now.Fault)
	}
	e := b.Faults[p.Fault]
	if e == nil {
		if len(b.Faults) >= mostFaults {
			return fmt.Errorf("more than %d faults in a day", mostFaults)
		}
		e = &Entry{}
	}
	r := p.Rungs[rung]
	if r.Counted() {
		if b.deeds() >= mostDeeds {
			return fmt.Errorf("more than %d repairs in a day", mostDeeds)
		}
		e.DeedsMS = append(e.DeedsMS, b.AtMS)
	}
	b.Faults[p.Fault] = e
	b.Repairs++
	e.SinceMS = b.AtMS
	b.Now = &Repair{Fault: p.Fault, Rung: rung, Name: r.Name, Boot: boot, Restarts: r.Restarts(), AtMS: b.AtMS, Values: values,
		UntilMS: b.AtMS + int64((r.Timeout+r.Settle)/time.Millisecond) + graceMS}
	return nil
}

// Skip has the next repair of a fault begin with a later rung, since those before cannot be done here. Nothing is counted.
func (b *Book) Skip(p *Playbook, rung int) error {
	e := b.Faults[p.Fault]
	if e == nil {
		if len(b.Faults) >= mostFaults {
			return fmt.Errorf("more than %d faults in a day", mostFaults)
		}
		e = &Entry{}
		b.Faults[p.Fault] = e
	}
	e.Next, e.SinceMS = rung, b.AtMS
	return nil
}

// End says what came of the rung under way: the next one within the hour is one up, and there is a back-off before it, drawn
// from the seed. A rung that was cut off, since boot is another and it was none to restart the machine, may not have been
// done: it is tried once more.
func (b *Book) End(helped bool, boot string, seed uint64) {
	r := b.Now
	if r == nil {
		return
	}
	at := b.AtMS
	if b.Late() { // whoever looks later finds the same back-off, however often
		at = r.UntilMS
	}
	b.Now = nil
	e := b.Faults[r.Fault]
	if cut := boot != r.Boot && !r.Restarts; cut && !helped && e.Cuts == 0 {
		e.Next, e.Cuts = r.Rung, 1
	} else {
		e.Next, e.Cuts = min(r.Rung+1, MaxRungs-1), 0
	}
	most := min(minuteMS<<e.Tries, hourMS)
	e.Tries = min(e.Tries+1, mostTries)
	e.SinceMS, e.ReadyMS = b.AtMS, at+draw(seed, r.Fault, b.Repairs, most)
}

// Late reports whether the rung under way has had all its time: it counts as one that did not help.
func (b *Book) Late() bool { return b.Now != nil && b.AtMS >= b.Now.UntilMS }

// Known returns the faults in the book, sorted.
func (b *Book) Known() []string { return slices.Sorted(maps.Keys(b.Faults)) }

// draw returns a number from 0 to most, the same for the same seed, fault and repair: a fleet does not repair in step.
func draw(seed uint64, fault string, repair, most int64) int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %d", seed, fault, repair)
	x := h.Sum64() // the end of splitmix64: near texts have far sums
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	x ^= x >> 31
	return int64(x % uint64(most+1))
}
