package update

import (
	"context"
	"time"

	"holdfast/board"
	"holdfast/update/bsdiff"
)

// progressEvery is how often a hook is told of progress.
const progressEvery = 5 * time.Second

// progress is what is known of the pace of the work, in this process.
type progress struct {
	began   time.Time // of the stretch of work that the pace is measured on
	from    int64     // bytes made before it
	told    time.Time
	stage   string // "verifying" while the slot is read back
	waiting string // why nothing goes on
}

func (p *progress) start(now time.Time, made int64) {
	if p.began.IsZero() {
		p.began, p.from = now, made
	}
	p.stage = ""
}

func (p *progress) due(now time.Time) bool {
	if now.Sub(p.told) < progressEvery {
		return false
	}
	p.told = now
	return true
}

// left returns how long the rest takes at the present pace; 0 when that is not known.
func (p *progress) left(now time.Time, made, total int64) time.Duration {
	done, spent := made-p.from, now.Sub(p.began)
	if p.began.IsZero() || done <= 0 || spent < time.Second {
		return 0
	}
	return time.Duration(float64(spent) * float64(total-made) / float64(done))
}

// made returns how many bytes of the new images are there, and total how many there will be.
func (e *Engine) made() int64 {
	if e.manifest == nil {
		return 0
	}
	sum := int64(0)
	for n, p := range e.manifest.Parts {
		switch {
		case n < e.j.Part:
			sum += p.Image.Bytes
		case n == e.j.Part && e.j.Segment < len(p.Full.Patch.Segments):
			sum += p.Full.Patch.Segments[e.j.Segment].At
		}
	}
	return sum
}

func (e *Engine) total() int64 {
	if e.manifest == nil {
		return 0
	}
	sum := int64(0)
	for _, p := range e.manifest.Parts {
		sum += p.Image.Bytes
	}
	return sum
}

// A pace spreads the bytes of patches over time: a bucket that holds one second's worth.
type pace struct {
	clock board.Clock
	rate  int64 // bytes a second; 0 for no limit
	due   time.Time
}

func (p *pace) context(ctx context.Context) context.Context {
	if p.rate <= 0 {
		return ctx
	}
	return bsdiff.WithPace(ctx, p.wait)
}

func (p *pace) wait(ctx context.Context, n int) error {
	now := p.clock.Now()
	if earliest := now.Add(-time.Second); p.due.Before(earliest) {
		p.due = earliest
	}
	p.due = p.due.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	ahead := p.due.Sub(now)
	if ahead <= 0 {
		return nil
	}
	fired, stop := p.clock.Timer(ahead)
	defer stop()
	select {
	case <-fired:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
