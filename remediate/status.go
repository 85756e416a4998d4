package remediate

import (
	"math"
	"slices"
	"strings"
	"time"

	"holdfast/collectors"
	"holdfast/remediate/epl"
)

// A statusMeasure is one property of DeviceStatus: where it comes from, and how several instances become one number.
type statusMeasure struct {
	name, source string // source: one, or with flaws several
	instance     string // with only
	field        string
	factor       float64
	of           func(s *collectors.Sample, capacityBits float64) (float64, bool) // in place of field
	how          how
}

// how says what becomes of several instances.
type how uint8

const (
	only    how = iota // the sample of one instance, mostly the one without a name
	highest            // of all instances
	lowest
	sum
	all   // a truth: true where all are
	falls // how many are false
	flaws // how many are true, over several sources
)

// The properties of DeviceStatus behind deviceId; docs/events.md says what they mean.
var statusMeasures = [...]statusMeasure{
	{name: "cpuUtilization", source: "cpu", field: "busy_ratio", factor: 100},
	{name: "cpuIowait", source: "cpu", field: "iowait_ratio", factor: 100},
	{name: "cpuPressure", source: "pressure", instance: "cpu", field: "some_ratio", factor: 100},
	{name: "ioPressure", source: "pressure", instance: "io", field: "some_ratio", factor: 100},
	{name: "load", source: "load", field: "load1", factor: 1},
	{name: "load5", source: "load", field: "load5", factor: 1},
	{name: "load15", source: "load", field: "load15", factor: 1},
	{name: "memoryUtilization", source: "memory", field: "used_ratio", factor: 100},
	{name: "memoryAvailable", source: "memory", field: "available_bytes", factor: 1},
	{name: "memoryPressure", source: "memory", field: "pressure_some_ratio", factor: 100},
	{name: "swapUtilization", source: "memory", of: swapUsed},
	{name: "diskUtilization", source: "disk", field: "used_ratio", factor: 100, how: highest},
	{name: "diskFree", source: "disk", field: "free_bytes", factor: 1, how: lowest},
	{name: "inodeUtilization", source: "disk", field: "inodes_used_ratio", factor: 100, how: highest},
	{name: "diskRead", source: "disk_io", field: "read_bytes_per_second", factor: 1, how: sum},
	{name: "diskWrite", source: "disk_io", field: "write_bytes_per_second", factor: 1, how: sum},
	{name: "diskBusy", source: "disk_io", field: "busy_ratio", factor: 100, how: highest},
	{name: "networkReceive", source: "network", field: "rx_bytes_per_second", factor: 1, how: sum},
	{name: "networkTransmit", source: "network", field: "tx_bytes_per_second", factor: 1, how: sum},
	{name: "networkUtilization", source: "network", of: networkUsed, how: highest},
	{name: "temperature", source: "temperature", field: "temperature_celsius", factor: 1, how: highest},
	{name: "coolingUtilization", source: "cooling", field: "state_ratio", factor: 100, how: highest},
	{name: "batteryCharge", source: "power_supply", field: "charge_ratio", factor: 100, how: lowest},
	{name: "flashWear", source: "flash", field: "worn_a_ratio", factor: 100, how: highest},
	{name: "processes", source: "processes", field: "total_count", factor: 1},
	{name: "openFilesUtilization", source: "files", field: "open_ratio", factor: 100},
	{name: "uptime", source: "uptime", field: "uptime_seconds", factor: 1},
	{name: "unitsDown", source: "units", field: "active", factor: 1, how: falls},
	{name: "clockSynchronised", source: "clock", field: "synchronised", how: all},
	{name: "clockOffset", source: "clock", field: "offset_seconds", factor: 1},
	{name: "agentMemory", source: "self", field: "rss_bytes", factor: 1},
	{name: "recordsWaiting", source: "self", field: "records_waiting_count", factor: 1},
	{name: "openFiles", source: "files", field: "open_count", factor: 1},
	{name: "forks", source: "processes", field: "forks_per_second", factor: 1},
	{name: "threads", source: "processes", field: "threads_count", factor: 1},
	{name: "blockedTasks", source: "processes", field: "blocked_count", factor: 1},
	{name: "diskAwait", source: "disk_io", field: "await_seconds", factor: 1e3, how: highest},
	{name: "networkErrors", source: "network", of: bothOf("rx_errors_per_second", "tx_errors_per_second"), how: sum},
	{name: "networkDrops", source: "network", of: bothOf("rx_drops_per_second", "tx_drops_per_second"), how: sum},
	{name: "unitRestarts", source: "units", field: "restarts_count", factor: 1, how: sum},
	{name: "unitMemory", source: "units", field: "memory_bytes", factor: 1, how: highest},
	{name: "unitTasks", source: "units", field: "tasks_count", factor: 1, how: highest},
	{name: "sensorFaults", source: "temperature hwmon iio w1 i2c", of: flawed, how: flaws},
	{name: "uplinkCarrier", source: "probe", field: "carrier", how: all},
	{name: "gatewayLoss", source: "probe", field: "gateway_loss_ratio", factor: 100},
	{name: "gatewayDelay", source: "probe", field: "gateway_seconds", factor: 1e3},
	{name: "dnsFailing", source: "probe", of: notOf("dns_ok"), how: all},
	{name: "dnsDelay", source: "probe", field: "dns_seconds", factor: 1e3},
	{name: "brokerFailing", source: "probe", of: notOf("broker_ok"), how: all},
	{name: "brokerDelay", source: "probe", field: "broker_seconds", factor: 1e3},
	{name: "clockTrusted", how: all}, // the agent's own, as linkUp
	{name: "linkUp", how: all},
}

// StatusNames are the properties of DeviceStatus behind deviceId, in their order.
func StatusNames() []string {
	names := make([]string, len(statusMeasures))
	for i := range statusMeasures {
		names[i] = statusMeasures[i].name
	}
	return names
}

func (m *statusMeasure) kind() epl.Kind {
	switch m.how {
	case all:
		return epl.Bool
	case falls, flaws:
		return epl.Int
	}
	return epl.Double
}

// swapUsed is the part of the swap space that is in use, in percent; nothing without swap.
func swapUsed(s *collectors.Sample, _ float64) (float64, bool) {
	used, ok := numberOf(s, "swap_used_bytes")
	total, _ := numberOf(s, "swap_total_bytes")
	return 100 * used / total, ok && total > 0
}

// networkUsed is the part of an interface's capacity that its busier direction takes, in percent.
func networkUsed(s *collectors.Sample, capacityBits float64) (float64, bool) {
	if speed, ok := numberOf(s, "speed_bits_per_second"); ok && speed > 0 {
		capacityBits = speed
	}
	in, ok := numberOf(s, "rx_bytes_per_second")
	out, also := numberOf(s, "tx_bytes_per_second")
	return 100 * 8 * max(in, out) / capacityBits, (ok || also) && capacityBits > 0
}

// bothOf adds what goes in and what goes out.
func bothOf(in, out string) func(*collectors.Sample, float64) (float64, bool) {
	return func(s *collectors.Sample, _ float64) (float64, bool) {
		a, ok := numberOf(s, in)
		b, also := numberOf(s, out)
		return a + b, ok && also
	}
}

// notOf is true where a truth is not.
func notOf(field string) func(*collectors.Sample, float64) (float64, bool) {
	return func(s *collectors.Sample, _ float64) (float64, bool) {
		n, ok := numberOf(s, field)
		return 1 - n, ok
	}
}

// flawed says whether a sensor has a fault.
func flawed(s *collectors.Sample, _ float64) (float64, bool) {
	if _, faulty := s.Field("fault"); faulty {
		return 1, true
	}
	return 0, true
}

func numberOf(s *collectors.Sample, field string) (float64, bool) {
	v, found := s.Field(field)
	n, ok := v.Number()
	return n, found && ok && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// A present keeps the latest readings that DeviceStatus is made of.
type present struct {
	capacityBits float64
	stale        func(source string) time.Duration
	sources      map[string]*presentSource
	linkUp       epl.Value
	said         [len(statusMeasures)]bool // properties that ever had a value
}

type presentSource struct {
	measures []int // of statusMeasures
	readings []reading
}

// A reading is what one instance said last: a number for each measure of its source; NaN for none.
type reading struct {
	instance string
	at       time.Time
	numbers  []float64
}

// mostInstances bounds the instances of one source that DeviceStatus takes in. A board has a handful.
const mostInstances = 64

func newPresent(capacityBits float64, stale func(source string) time.Duration) *present {
	p := &present{capacityBits: capacityBits, stale: stale, sources: map[string]*presentSource{}}
	for i, m := range statusMeasures {
		for name := range strings.FieldsSeq(m.source) {
			if p.sources[name] == nil {
				p.sources[name] = &presentSource{}
			}
			p.sources[name].measures = append(p.sources[name].measures, i)
		}
	}
	return p
}

// take remembers what a sample says.
func (p *present) take(s *collectors.Sample) {
	src := p.sources[s.Source]
	if src == nil {
		return
	}
	i := slices.IndexFunc(src.readings, func(r reading) bool { return r.instance == s.Instance })
	if i < 0 {
		if len(src.readings) >= mostInstances {
			return
		}
		i = len(src.readings)
		src.readings = append(src.readings, reading{instance: s.Instance, numbers: make([]float64, len(src.measures))})
	}
	r := &src.readings[i]
	r.at = s.Time
	for k, index := range src.measures {
		m := &statusMeasures[index]
		n, ok := 0.0, false
		if m.of != nil {
			n, ok = m.of(s, p.capacityBits)
		} else if n, ok = numberOf(s, m.field); m.how != all && m.how != falls {
			n *= m.factor
		}
		if !ok {
			n = math.NaN()
		}
		r.numbers[k] = n
	}
}

// fill writes the properties of DeviceStatus as of now; what is stale is null, and forgotten.
func (p *present) fill(vals []epl.Value, now time.Time, trusted bool) {
	clear(vals)
	for name, src := range p.sources {
		limit := p.stale(name)
		src.readings = slices.DeleteFunc(src.readings, func(r reading) bool { return now.Sub(r.at) > limit })
		for k, index := range src.measures {
			v := statusMeasures[index].join(src.readings, k)
			if v.Null() {
				continue
			}
			if before, ok := vals[index].Float(); ok { // of another source
				n, _ := v.Float()
				v = epl.OfInt(int32(before + n))
			}
			vals[index], p.said[index] = v, true
		}
	}
	vals[len(statusMeasures)-2], vals[len(statusMeasures)-1] = epl.OfBool(trusted), p.linkUp
	p.said[len(statusMeasures)-2], p.said[len(statusMeasures)-1] = true, !p.linkUp.Null()
}

// join makes one value of what the instances say.
func (m *statusMeasure) join(readings []reading, k int) epl.Value {
	n, none, count := 0.0, true, 0
	for i := range readings {
		v := readings[i].numbers[k]
		switch {
		case math.IsNaN(v) || m.how == only && readings[i].instance != m.instance:
			continue
		case m.how == sum:
			n += v
		case none, m.how == highest && v > n, (m.how == lowest || m.how == all) && v < n:
			n = v
		}
		if (v == 0) == (m.how == falls) {
			count++
		}
		none = false
	}
	switch {
	case none:
		return epl.Value{}
	case m.how == all:
		return epl.OfBool(n != 0)
	case m.how == falls, m.how == flaws:
		return epl.OfInt(int32(count))
	}
	return epl.OfDouble(n)
}
