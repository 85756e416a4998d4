package habit

import "math"

// measure is what is known of one.
type measure struct {
	sum   float64 // of the minute that is gathered
	count int32
	value float32 // of the last minute

	season  [hours]habit
	level   float32 // of just before
	stray   float32 // what the level is usually wrong by
	change  float32 // from one minute to the next, usually
	learned uint16  // minutes in both, at most weekFull
	size    float32 // how large it usually gets
	large   float32 // how large it was today

	since  uint8   // minutes since a start or gap, less than levelFull
	gone   uint8   // minutes without a value, at most gap
	unrest float32 // the logarithm of the last changes in multiples of the usual one, smoothed: one large one, of a shift, is little

	known    bool  // whether the season of the last minute is
	away     alarm // from both forecasts
	lone     alarm // from just before
	restless alarm // changes more than usual
	usual    float32
}

// habit is what an hour of the day is.
type habit struct {
	mean, stray float32
	seen        uint16 // minutes, at most hourFull
}

// off is how far a value is from a forecast, in multiples of what the forecast is usually wrong by.
func (m *measure) off(x float64, forecast, stray float32) float32 {
	return float32(min(math.Abs(x-float64(forecast))/m.scale(x, stray), farthest))
}

// scale is the usual error of a forecast, or the floor under it. Where there was never anything but zero, the value has to do.
func (m *measure) scale(x float64, stray float32) float64 {
	if usual := max(stray, floor*m.size); usual > 0 {
		return float64(usual)
	}
	return max(floor*math.Abs(x), math.SmallestNonzeroFloat32)
}

// clip is an error as it is learned: no more than a multiple of the usual one.
func (m *measure) clip(e, x float64, stray, bound float32) float64 {
	most := float64(bound) * m.scale(x, stray)
	return min(max(e, -most), most)
}

// seasonal returns how far x is from what this hour usually is. The hours beside it count as well: jobs are late, and people's
// clocks change twice a year.
func (m *measure) seasonal(x float64, hour int) (score float32, known bool) {
	if m.learned < seasonFull || m.season[hour].seen < hourKnown {
		return 0, false
	}
	score = farthest
	for _, h := range [3]int{hour, (hour + 1) % hours, (hour + hours - 1) % hours} {
		if s := &m.season[h]; s.seen >= hourKnown {
			score = min(score, m.off(x, s.mean, s.stray))
		}
	}
	return score, true
}

// judge gives the minute scores, and sees whether the last few agree. What was far from both forecasts is as usual again when it is near
// its season, since just before is wrong then.
func (m *measure) judge(x float64, before float32, hour int) {
	m.value, m.gone, m.known = float32(x), 0, false
	if m.since < warm || m.learned < levelFull {
		return
	}
	week := m.learned >= weekFull
	m.unrest += (float32(math.Log(float64(m.off(x, before, m.change))+0.1)) - m.unrest) / unrestFull
	m.restless.take(float32(math.Exp(float64(m.unrest))), unruly, week)
	score := m.off(x, m.level, m.stray)
	m.lone.take(score, lonely, week)
	m.usual = m.level
	if hour < 0 {
		return
	}
	var s float32
	if s, m.known = m.seasonal(x, hour); !m.known {
		return
	}
	m.usual = m.season[hour].mean
	if score = max(min(s, score), s*alone); m.away.on {
		score = s
	}
	m.away.take(score, far, true)
}

// score is how far beyond its bounds the measure was, or 0 where it is as usual.
func (m *measure) score() float32 {
	if m.known {
		return max(m.away.score(far), m.restless.score(unruly))
	}
	return max(m.lone.score(lonely), m.restless.score(unruly))
}

// learn takes the minute into the forecasts.
func (m *measure) learn(x float64, before float32, hour int) {
	pace := 1.0
	if m.score() > 0 {
		pace = restful
	}
	if m.since == 0 {
		m.level = float32(x)
	}
	e := x - float64(m.level)
	if m.since >= warm {
		c := math.Abs(x - float64(before))
		if m.learned >= dayFull {
			e = m.clip(e, x, m.stray, m.away.bound(far))
			c = m.clip(c, x, m.change, m.restless.bound(far))
		}
		per := pace / float64(min(m.learned, dayFull)+1)
		m.stray += float32((math.Abs(e) - float64(m.stray)) * per)
		m.change += float32((c - float64(m.change)) * per)
		m.learned = min(m.learned+1, weekFull)
	}
	m.level += float32(e * pace / float64(m.since+1))
	m.since = min(m.since+1, levelFull-1)
	large := float32(math.Abs(x))
	if m.large = max(m.large, large); m.size == 0 {
		m.size = large
	}
	if hour >= 0 {
		m.learnHour(x, &m.season[hour])
	}
}

// learnHour learns at full pace also what is unusual: in days it is the new usual.
func (m *measure) learnHour(x float64, s *habit) {
	if s.seen == 0 {
		s.mean = float32(x)
	}
	e := x - float64(s.mean)
	if s.seen >= hourKnown {
		e = m.clip(e, x, s.stray, m.away.bound(far))
	}
	s.stray += float32((math.Abs(e) - float64(s.stray)) / float64(s.seen+1))
	s.mean += float32(e / float64(s.seen+1))
	s.seen = min(s.seen+1, hourFull)
}

// miss is minutes without a value. One is nothing; after an hour there is no just before.
func (m *measure) miss(minutes int64) {
	m.gone = uint8(min(int64(m.gone)+minutes, gap))
	if m.gone >= minRun {
		m.calm()
	}
	if m.gone == gap {
		m.restart()
	}
}

// restart forgets what was just before.
func (m *measure) restart() {
	m.since, m.unrest = 0, 0
	m.calm()
}

func (m *measure) calm() {
	m.away.reset()
	m.lone.reset()
	m.restless.reset()
}

// sleep ends a day.
func (m *measure) sleep() {
	m.away.sleep(far)
	m.lone.sleep(lonely)
	m.restless.sleep(unruly)
	m.size = max(m.size*fade, min(m.large, m.size*grow))
	m.large = 0
}
