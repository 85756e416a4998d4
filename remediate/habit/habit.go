// Package habit is a leaf: it says which measures are not as they usually are, where nobody has said what is wrong with the machine.
//
// A Book has two forecasts for each measure: what this hour of the day usually is (the seasonal naive forecast) and what was just before
// (the persistence forecast; Hyndman and Athanasopoulos 2021, "Forecasting: principles and practice", section 5.2). Each error is
// divided by what that forecast is usually wrong by (a scaled error: Hyndman and Koehler 2006, "Another look at measures of forecast
// accuracy"). A measure is unusual where both are far off for minutes in a row, farther than they are on other days: what happens
// every day does no harm. What is far off is learned as if it were just too far (winsorising: Tukey 1962, "The future of data
// analysis"), so that a fault does not become usual in hours; a new usual does in days.
//
// It says where to look, and is no ground for a repair. All memory is taken by New: 440 bytes for each measure.
package habit

import "time"

// Nothing is said of a measure before it was seen for so long: three days are the least that show what is the same every day. Where no
// clock is trusted there is no hour of the day, and weekends have to be known by what they do: a week.
const (
	LearnSeason = 3 * 24 * time.Hour
	LearnAlone  = 7 * 24 * time.Hour
)

// MaxNames is how many measures a book takes; those behind are left out.
const MaxNames = 256

// All that follow are minutes.
const (
	minRun     = 5                // in a row that have to be far off, and to be near again before a measure is as usual
	warm       = 15               // after a start or a gap, of which nothing is said: there is no just before yet
	gap        = 60               // without a value, after which what was before is no longer just before
	levelFull  = 60               // that the level of just before remembers
	unrestFull = 20               // that the unrest remembers
	dayFull    = 24 * 60          // that usual errors remember
	weekFull   = 7 * dayFull      // of learning: LearnAlone
	seasonFull = 3*dayFull - 2*60 // of learning: LearnSeason, less what eight starts take
	hourFull   = 7 * 60           // of an hour of the day that it remembers: a week of them
	hourKnown  = 170              // of three days, less what starts and gaps took: the third has to be seen nearly whole, as it may be the first working day
)

const (
	minute   = time.Minute
	hours    = 24
	never    = -1 << 62 // no minute
	leapMost = 30 * 60  // seconds by which a trusted clock may be set without doubt about the hours before
)

// Scores are errors in multiples of the usual one.
var (
	far    = bounds{least: 6, over: 1.5} // normal noise (its mean absolute deviation is 0.8 sigma) is beyond 4.8 sigma once in 600,000 minutes
	lonely = bounds{least: 8, over: 2}   // persistence alone
	unruly = bounds{least: 3, over: 2}   // the geometric mean of changes
)

const (
	largest  = 1e37    // value, so that no difference of two overflows
	farthest = 100.0   // a score is at most
	alone    = 1.0 / 3 // what the season's score counts for without persistence: drift is slow, and just before is as wrong
	grow     = 1.25    // by how much a day may raise what is usual for a score
	fade     = 0.97    // what is left of that after a day without: half in three weeks
	floor    = 0.02    // the least usual error, of the size of the measure: what was constant may change by 12 %
	restful  = 1.0 / 8 // the pace at which just before is learned while a measure is unusual
)

// An Odd is a measure that is not as usual.
type Odd struct {
	Name  string
	Value float32 // mean of the last minute
	Usual float32 // mean of this hour of the day, or the level of the last hour where no season is known
	Score float32 // how far off at most in the last five minutes, in multiples of what is tolerated: 1 and more
}

// A Book knows the habits of some measures. It belongs to one goroutine.
type Book struct {
	names    []string
	measures []measure
	minute   int64  // the one that is gathered, of at
	hour     int    // of the day, UTC; -1 where some of its samples had no clock that is trusted
	offset   int64  // seconds from at to the wall clock, when last trusted
	dated    bool   // whether offset is known
	day      int    // minutes since what was far today was last taken over
	odd      [3]Odd // the worst, the first odds of them
	odds     int
}

// New returns an empty book for measures.
func New(names []string) *Book {
	names = names[:min(len(names), MaxNames)]
	b := &Book{names: append([]string(nil), names...), measures: make([]measure, len(names))}
	b.rest()
	return b
}

// rest forgets what was just before.
func (b *Book) rest() {
	b.minute, b.odds = never, 0
	for i := range b.measures {
		m := &b.measures[i]
		m.sum, m.count, m.gone = 0, 0, 0
		m.restart()
	}
}

// Add takes a value for each measure, in the order of the names; NaN, or a row that ends early, stands for one that is missing. at is
// monotonic; the wall clock is used only where it is trusted. It allocates nothing. The minute that ends is judged first.
func (b *Book) Add(at time.Duration, wall time.Time, trusted bool, row []float32) {
	now := int64(at / minute)
	if now != b.minute {
		b.turn(now)
		b.hour = wall.UTC().Hour()
	}
	if !trusted {
		b.hour = -1
	} else if offset := wall.Unix() - int64(at/time.Second); b.dated && abs64(offset-b.offset) > leapMost {
		b.leap()
		b.offset = offset
	} else {
		b.offset, b.dated = offset, true
	}
	for i, v := range row[:min(len(row), len(b.measures))] {
		if v-v == 0 {
			m := &b.measures[i]
			m.sum += float64(v)
			m.count++
		}
	}
}

func abs64(n int64) int64 { return max(n, -n) }

// leap is what a trusted clock that jumps means: the hours before had been taken for others. What is known of them is forgotten. A
// machine that sleeps looks the same, since its monotonic clock stands still.
func (b *Book) leap() {
	b.hour = -1
	for i := range b.measures {
		b.measures[i].season = [hours]habit{}
		b.measures[i].away.reset()
	}
}

// turn ends the minute that was gathered.
func (b *Book) turn(now int64) {
	passed := now - b.minute
	if b.minute == never || passed < 0 || passed > gap {
		b.rest()
		b.minute, b.dated = now, b.dated && passed > 0
		return
	}
	b.minute = now
	if b.day += int(passed); b.day >= dayFull {
		b.day = 0
		for i := range b.measures {
			b.measures[i].sleep()
		}
	}
	for i := range b.measures {
		m := &b.measures[i]
		if m.count == 0 {
			m.miss(passed)
			continue
		}
		x := min(max(m.sum/float64(m.count), -largest), largest)
		m.sum, m.count = 0, 0
		before := m.value
		m.judge(x, before, b.hour)
		m.learn(x, before, b.hour)
		if passed > 1 {
			m.miss(passed - 1)
		}
	}
	b.rank()
}

// rank puts the worst into odd.
func (b *Book) rank() {
	b.odds = 0
	for i := range b.measures {
		m := &b.measures[i]
		score := m.score()
		if score == 0 {
			continue
		}
		o := Odd{Name: b.names[i], Value: m.value, Usual: m.usual, Score: score}
		at := b.odds
		for at > 0 && b.odd[at-1].Score < o.Score {
			at--
		}
		if at < len(b.odd) {
			copy(b.odd[at+1:], b.odd[at:])
			b.odd[at] = o
			b.odds = min(b.odds+1, len(b.odd))
		}
	}
}

// Unusual returns the measures that are not as usual, at most three, the worst first, or nil. It is good until the next Add.
func (b *Book) Unusual() []Odd {
	if b.odds == 0 {
		return nil
	}
	return b.odd[:b.odds]
}
