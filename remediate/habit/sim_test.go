package habit_test

import (
	"math"
	"time"
)

// chance is SplitMix64 (Steele, Lea and Flood 2014): the same numbers in every version of Go.
type chance uint64

func (c *chance) bits() uint64 {
	*c += 0x9e3779b97f4a7c15
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (c *chance) unit() float64 { return float64(c.bits()>>11) / (1 << 53) }

// normal is of the standard normal distribution, by the sum of twelve: quick, and its tails end at six.
func (c *chance) normal() float64 {
	sum := -6.0
	for range 12 {
		sum += c.unit()
	}
	return sum
}

// pareto is 1 and more, with a tail of that exponent.
func (c *chance) pareto(tail float64) float64 { return math.Pow(1-c.unit(), -1/tail) }

// The measures of a simulated machine.
const (
	load    = iota // a daily cycle, work every hour, bursts of any length
	celsius        // follows the load, and the day
	memory         // wanders, and falls every night
	disk           // grows, and falls every week
	traffic        // heavy tails, and a backup at two at night, for minutes or an hour
	faults         // zero, and seldom a few
	still          // constant, but for its last digit
	office         // works from eight to five, five days a week
	kinds
)

var names = []string{"load", "celsius", "memory", "disk", "traffic", "faults", "still", "office"}

const step = 20 * time.Second

// machine is a simulated device with its habits, one step at a time.
type machine struct {
	chance
	at     time.Duration
	start  time.Time
	row    [kinds]float32
	heat   float64
	used   float64
	burst  int // steps that are left of one
	high   float64
	backup int
	shift  time.Duration // by which people are late today
	flow   float64
}

func newMachine(seed uint64) *machine {
	m := &machine{chance: chance(seed), heat: 40, used: 200}
	m.start = time.Date(2024, 3, 1+int(seed%7), int(seed*5%24), 0, 0, 0, time.UTC)
	return m
}

func (m *machine) next() {
	m.at += step
	now := m.start.Add(m.at)
	day := float64(now.Hour()*60+now.Minute()) / 1440
	wave := math.Sin(2 * math.Pi * day)
	if now.Hour() == 0 && now.Minute() == 0 && now.Second() < 20 {
		m.shift = time.Duration(m.normal() * 10 * float64(time.Minute))
		m.used -= 0.5 * (m.used - 200)
	}
	if m.burst--; m.burst < 0 && m.unit() < 1.0/180 { // once an hour or so
		m.burst, m.high = int(3*min(m.pareto(1.5), 20)), 20+20*m.unit()
	}
	x := 20 + 10*wave + 4*m.normal()
	if now.Minute() < 4 {
		x += 30
	}
	if m.burst > 0 {
		x += m.high
	}
	m.row[load] = float32(max(x, 0))
	m.heat += 0.02 * (35 + 5*wave + float64(m.row[load])/5 - m.heat)
	m.row[celsius] = float32(m.heat + 0.3*m.normal())
	m.used += 0.03 * m.normal()
	m.row[memory] = float32(max(m.used, 100))
	m.row[disk] = float32(40 + float64(m.at/time.Minute%(7*1440))/1440*1.5)
	if m.flow = 1000 * (1.5 + wave) * m.pareto(1.5); now.Hour() == 2 && now.Minute() == 5 && now.Second() < 20 {
		m.backup = int(3 * min(5*m.pareto(1), 60))
	}
	if m.backup--; m.backup > 0 {
		m.flow += 200_000
	}
	m.row[traffic] = float32(min(m.flow, 1e6))
	m.row[faults] = 0
	if m.unit() < 1.0/2000 {
		m.row[faults] = float32(int(m.pareto(1)))
	}
	m.row[still] = 42 + float32(m.bits()%3)*0.01
	m.row[office] = float32(5 + m.normal())
	if late := now.Add(-m.shift); late.Hour() >= 8 && late.Hour() < 17 && late.Weekday() != time.Saturday && late.Weekday() != time.Sunday {
		m.row[office] = float32(60 + 8*m.normal())
	}
}
