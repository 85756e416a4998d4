package digest

import (
	"math"
	"time"
)

// A Gate lets a value pass when it says something new: it moved out of the deadband around the last value that passed,
// it moves fast, or nothing has passed for long. The first value always passes. The zero Gate lets everything pass.
//
// With neither Deadband, Relative nor Rate, but with Silence, every change passes.
type Gate struct {
	Deadband float64       // how far a value must be from the last one that passed, in the unit of the measure
	Relative float64       // the same as a share of the last one that passed; where both are set the larger distance counts
	Rate     float64       // how fast a value must change from the one seen before it, in units per second
	Silence  time.Duration // how long nothing may pass before the next value does; 0 for ever

	started  bool
	passed   float64
	passedAt time.Time
	seen     float64
	seenAt   time.Time
}

// Pass reports whether v is worth sending, and remembers it. at should carry a monotonic reading; where it does not, a
// step of the clock at worst lets a value pass too early or too late.
func (g *Gate) Pass(at time.Time, v float64) bool {
	pass := !g.started || g.moved(v) || g.fast(at, v) || g.silent(at)
	g.started, g.seen, g.seenAt = true, v, at
	if pass {
		g.passed, g.passedAt = v, at
	}
	return pass
}

// Reset makes the next value pass.
func (g *Gate) Reset() { g.started = false }

func (g *Gate) moved(v float64) bool {
	if math.IsNaN(v) || math.IsNaN(g.passed) {
		return math.IsNaN(v) != math.IsNaN(g.passed) // a sensor that breaks or heals is news, one that stays broken is not
	}
	if g.Deadband <= 0 && g.Relative <= 0 {
		if g.Rate > 0 {
			return false
		}
		return v != g.passed || g.Silence <= 0
	}
	band := max(g.Deadband, g.Relative*math.Abs(g.passed))
	if math.IsInf(g.passed, 0) {
		return v != g.passed
	}
	return math.Abs(v-g.passed) > band
}

func (g *Gate) fast(at time.Time, v float64) bool {
	seconds := at.Sub(g.seenAt).Seconds()
	return g.Rate > 0 && seconds > 0 && math.Abs(v-g.seen)/seconds > g.Rate
}

func (g *Gate) silent(at time.Time) bool {
	if g.Silence <= 0 {
		return false
	}
	quiet := at.Sub(g.passedAt)
	return quiet >= g.Silence || quiet < 0 // a clock that went back must not silence a series until it has caught up
}
