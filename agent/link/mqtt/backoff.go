package mqtt

import (
	"math/rand/v2"
	"time"
)

// A Backoff spreads the attempts of a fleet: a wait is anything between nothing and a ceiling ("full jitter"), which is
// Min after the first failure and doubles with each, up to Max.
type Backoff struct {
	Min, Max time.Duration // 0 is 1 s and 5 min
	// Rand returns a number in [0, 1); nil is math/rand.
	Rand func() float64
}

func (b Backoff) wait(doublings int) time.Duration {
	ceiling := b.Min
	for range doublings {
		if ceiling *= 2; ceiling >= b.Max {
			break
		}
	}
	random := b.Rand
	if random == nil {
		random = rand.Float64
	}
	return time.Duration(random() * float64(min(ceiling, b.Max)))
}
