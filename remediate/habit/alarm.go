package habit

// bounds say from which score on a run is too much: at least least, and over times what usually lasts as long.
type bounds struct{ least, over float32 }

// alarm is raised where scores are beyond what they ever usually are for minutes in a row, and ends where none of as many is.
type alarm struct {
	peak  float32         // the highest score that usually lasts for a run
	today float32         // the highest that did today
	run   [minRun]float32 // the last scores
	next  uint8           // in run
	on    bool
}

// bound is the score from which on a run is too much.
func (a *alarm) bound(b bounds) float32 { return max(b.least, b.over*a.peak) }

// take takes a minute's score. An alarm that may not be raised yet learns instead, whatever comes.
func (a *alarm) take(score float32, b bounds, mayRaise bool) {
	a.run[a.next] = score
	a.next = (a.next + 1) % minRun
	low, high := a.ends()
	if a.today = max(a.today, low); !mayRaise {
		a.peak = max(a.peak, low)
		return
	}
	switch bound := a.bound(b); {
	case low >= bound:
		a.on = true
	case high < bound:
		a.on = false
	}
}

// ends are the lowest and the highest score of the run.
func (a *alarm) ends() (low, high float32) {
	low, high = a.run[0], a.run[0]
	for _, s := range a.run {
		low, high = min(low, s), max(high, s)
	}
	return low, high
}

// score is how far beyond its bound an alarm was in its run, 1 and more, or 0 where it is not on.
func (a *alarm) score(b bounds) float32 {
	if !a.on {
		return 0
	}
	_, high := a.ends()
	return max(high/a.bound(b), 1)
}

// sleep ends a day: what lasted for a run is usual, as far as one day may say that.
func (a *alarm) sleep(b bounds) {
	a.peak = max(a.peak*fade, min(a.today, max(a.peak, b.least/b.over)*grow))
	a.today = 0
}

func (a *alarm) reset() { a.run, a.next, a.on = [minRun]float32{}, 0, false }
