// Package remediate is a noun: it notices what is wrong with the machine. Rules in EPL, Esper's event processing language,
// are given what the collectors measure, and what they match becomes alerts, which are raised, reminded of and cleared.
//
// Nothing here starts a goroutine or takes a lock: the agent's core loop owns it.
package remediate

import (
	"strings"

	"holdfast/remediate/epl"
)

// An EventType is an event type that rules can name.
type EventType struct {
	Type     *epl.Type
	Source   string // of the samples it is made of; empty for what the agent says itself
	Instance string // the property that tells several of a kind apart; empty where there is one
	Fields   []string
}

// The event types made of one sample each: name, source, the property that has the instance, and the fields. A field is a
// property of the same name, or of the one behind its '>'. Without a letter before it a field is a double; i is an int, l a
// long, b a boolean, s a string.
var sampleTypes = [...][4]string{
	{"Cpu", "cpu", "core", "busy_ratio user_ratio system_ratio iowait_ratio steal_ratio l:count>cores"},
	{"Load", "load", "", "load1 load5 load15 l:runnable_count"},
	{"Memory", "memory", "", "total_bytes available_bytes used_ratio swap_total_bytes swap_used_bytes pressure_some_ratio pressure_full_ratio"},
	{"Pressure", "pressure", "resource", "some_ratio full_ratio"},
	{"Disk", "disk", "mount", "total_bytes free_bytes used_ratio l:inodes_total inodes_used_ratio b:read_only b:mounted"},
	{"DiskIo", "disk_io", "device", "read_bytes_per_second write_bytes_per_second reads_per_second writes_per_second busy_ratio await_seconds"},
	{"Network", "network", "interface", "rx_bytes_per_second tx_bytes_per_second rx_packets_per_second tx_packets_per_second " +
		"rx_errors_per_second tx_errors_per_second rx_drops_per_second tx_drops_per_second b:carrier speed_bits_per_second"},
	{"Processes", "processes", "", "l:total_count l:running_count l:blocked_count l:threads_count forks_per_second"},
	{"OpenFiles", "files", "", "l:open_count open_ratio"},
	{"Uptime", "uptime", "", "uptime_seconds s:boot_id"},
	{"Clock", "clock", "", "b:synchronised offset_seconds max_error_seconds"},
	{"Agent", "self", "", "rss_bytes cpu_seconds l:goroutines_count l:descriptors_count spool_bytes l:records_waiting_count " +
		"l:records_dropped_count l:reconnects_count"},
	{"Temperature", "temperature", "sensor", "temperature_celsius critical_celsius b:alarm s:fault"},
	{"Hwmon", "hwmon", "sensor", "voltage_volts current_amperes power_watts energy_joules humidity_percent fan_rpm b:alarm s:fault"},
	{"Iio", "iio", "sensor", "temperature_celsius pressure_pascals humidity_percent voltage_volts current_amperes power_watts " +
		"illuminance_lux s:fault"},
	{"W1", "w1", "sensor", "temperature_celsius s:fault"},
	{"Cooling", "cooling", "device", "state_ratio s:fault"},
	{"PowerSupply", "power_supply", "supply", "b:online b:present s:status s:health charge_ratio voltage_volts current_amperes " +
		"temperature_celsius s:fault s:fault_field"},
	{"Flash", "flash", "device", "worn_a_ratio worn_b_ratio b:worn_out s:reserve s:product s:manufacturer s:made s:fault"},
	{"I2c", "i2c", "chip", "temperature_celsius pressure_pascals humidity_percent voltage_volts current_amperes power_watts " +
		"voltage0_volts voltage1_volts voltage2_volts voltage3_volts s:fault s:fault_field"},
	{"UnitState", "units", "unit", "b:active s:state l:restarts_count since_seconds memory_bytes l:tasks_count cpu_seconds"},
	{"Probe", "probe", "", "s:verdict b:carrier gateway_loss_ratio gateway_seconds b:dns_ok dns_seconds b:broker_ok broker_seconds " +
		"b:http_ok http_seconds"},
	{"LogRecord", "log", "unit", "s:message i:priority s:identifier l:pid s:written b:truncated l:dropped_count"},
	{"GpioLine", "gpio", "line", "i:level b:high s:error l:edges_count l:rising_count l:falling_count l:lost_count"},
	{"GpioEdge", "gpio_edge", "line", "i:level b:high l:monotonic_microseconds l:seq l:lost_count l:untold_count s:error"},
	{"CollectorState", "collector", "source", "s:state s:error l:failures_count"},
}

// The event types that the agent makes itself, in the same words.
var ownTypes = [...][2]string{
	{"LinkState", "b:up down_seconds s:reason"},
	{"Crash", "s:id s:name s:reason s:reset s:message"},
}

// Catalogue returns all event types, DeviceStatus first. They are made anew by each call, and belong to one engine.
func Catalogue() []EventType {
	all := make([]EventType, 0, 1+len(sampleTypes)+len(ownTypes))
	status := EventType{Type: &epl.Type{Name: "DeviceStatus", Properties: []epl.Property{{Name: "deviceId", Kind: epl.Text}}}}
	for _, m := range statusMeasures {
		status.Type.Properties = append(status.Type.Properties, epl.Property{Name: m.name, Kind: m.kind()})
	}
	all = append(all, status)
	for _, row := range sampleTypes {
		all = append(all, eventType(row[0], row[1], row[2], row[3]))
	}
	for _, row := range ownTypes {
		all = append(all, eventType(row[0], "", "", row[1]))
	}
	return all
}

// Types returns the types of a catalogue, for epl.Options.
func Types(all []EventType) []*epl.Type {
	types := make([]*epl.Type, len(all))
	for i := range all {
		types[i] = all[i].Type
	}
	return types
}

// eventType makes a type of a row: deviceId, then the instance where there is one, then the fields.
func eventType(name, source, instance, fields string) EventType {
	t := EventType{Type: &epl.Type{Name: name}, Source: source, Instance: instance}
	t.Type.Properties = append(t.Type.Properties, epl.Property{Name: "deviceId", Kind: epl.Text})
	if instance != "" {
		t.Type.Properties = append(t.Type.Properties, epl.Property{Name: instance, Kind: epl.Text})
	}
	for f := range strings.FieldsSeq(fields) {
		kind := epl.Double
		if letter, rest, found := strings.Cut(f, ":"); found {
			kind, f = kindOf(letter), rest
		}
		field, property, renamed := strings.Cut(f, ">")
		if !renamed {
			property = field
		}
		t.Fields = append(t.Fields, field)
		t.Type.Properties = append(t.Type.Properties, epl.Property{Name: property, Kind: kind})
	}
	return t
}

func kindOf(letter string) epl.Kind {
	switch letter {
	case "b":
		return epl.Bool
	case "i":
		return epl.Int
	case "l":
		return epl.Long
	}
	return epl.Text
}
