package remediate_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/collectors"
	"holdfast/remediate"
	"holdfast/remediate/epl"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// seen writes an event as type(property=value ...), without nulls.
func seen(t *epl.Type, vals []epl.Value) string {
	var b strings.Builder
	for i, v := range vals {
		if !v.Null() {
			fmt.Fprintf(&b, " %s=%s", t.Properties[i].Name, v)
		}
	}
	return t.Name + "(" + strings.TrimPrefix(b.String(), " ") + ")"
}

func sample(source, instance string, fields ...any) collectors.Sample {
	s := collectors.Sample{Source: source, Instance: instance, Time: noon}
	for i := 0; i < len(fields); i += 2 {
		f := collectors.Field{Name: fields[i].(string)}
		switch v := fields[i+1].(type) {
		case float64:
			f.Value = collectors.Number(v)
		case int:
			f.Value = collectors.Number(float64(v))
		case bool:
			f.Value = collectors.Bool(v)
		case string:
			f.Value = collectors.Text(v)
		}
		s.Fields = append(s.Fields, f)
	}
	return s
}

func TestASampleBecomesTheEventOfItsType(t *testing.T) {
	var got []string
	feed := remediate.NewFeed(remediate.Catalogue(), remediate.FeedOptions{Device: "pump",
		Send: func(typ *epl.Type, vals []epl.Value) { got = append(got, seen(typ, vals)) }})
	for _, tt := range []struct {
		sample collectors.Sample
		want   string
	}{
		{sample("cpu", "", "busy_ratio", 0.5, "count", 4), "Cpu(deviceId=pump busy_ratio=0.5 cores=4)"},
		{sample("cpu", "cpu1", "busy_ratio", 1), "Cpu(deviceId=pump core=cpu1 busy_ratio=1)"},
		{sample("disk", "/", "mounted", true, "used_ratio", 0.9), "Disk(deviceId=pump mount=/ used_ratio=0.9 mounted=true)"},
		{sample("gpio_edge", "door", "level", 1, "high", true, "seq", 7), "GpioEdge(deviceId=pump line=door level=1 high=true seq=7)"},
		{sample("units", "ssh.service", "active", false, "state", "failed/failed"), "UnitState(deviceId=pump unit=ssh.service active=false state=failed/failed)"},
		{sample("units", "a.service", "active", true, "memory_bytes", 10, "tasks_count", 2, "cpu_seconds", 0.5),
			"UnitState(deviceId=pump unit=a.service active=true memory_bytes=10 tasks_count=2 cpu_seconds=0.5)"},
		{sample("probe", "", "verdict", "link", "carrier", false, "dns_ok", false), "Probe(deviceId=pump verdict=link carrier=false dns_ok=false)"},
		{sample("log", "ssh.service", "message", "hm", "priority", 3, "unit", "ssh.service"), "LogRecord(deviceId=pump unit=ssh.service message=hm priority=3)"},
		{sample("load", "", "load1", math.Inf(1), "load5", math.NaN(), "load15", 1, "new", 2), "Load(deviceId=pump load15=1)"},
		{sample("gpio_edge", "door", "level", 1e300, "seq", 1e300, "high", "yes"), "GpioEdge(deviceId=pump line=door)"},
		{sample("nobody", "", "x", 1), ""},
	} {
		got = nil
		feed.Sample(&tt.sample)
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.sample.Source, s, tt.want)
		}
	}
	got = nil
	feed.Link(false, 0, "refused")
	feed.Link(true, 90*time.Second, "")
	feed.Crash(board.Crash{ID: "abc", Reason: "Panic", Tail: "oops"}, "watchdog")
	want := "LinkState(deviceId=pump up=false reason=refused) LinkState(deviceId=pump up=true down_seconds=90) " +
		"Crash(deviceId=pump id=abc reason=Panic reset=watchdog message=oops)"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("own events = %s, want %s", s, want)
	}
}

func TestDeviceStatusIsTheLatestOfEverySourceUntilItIsStale(t *testing.T) {
	var got string
	feed := remediate.NewFeed(remediate.Catalogue(), remediate.FeedOptions{Device: "pump", CapacityBits: 1e6,
		Stale: func(source string) time.Duration {
			if source == "disk" {
				return time.Hour
			}
			return 30 * time.Second
		},
		Send: func(typ *epl.Type, vals []epl.Value) {
			if typ.Name == "DeviceStatus" {
				got = seen(typ, vals)
			}
		}})
	feed.Round(noon, true)
	if got != "DeviceStatus(deviceId=pump clockTrusted=true)" {
		t.Errorf("of nothing: %s", got)
	}
	for _, s := range []collectors.Sample{
		sample("cpu", "", "busy_ratio", 0.25), sample("cpu", "cpu0", "busy_ratio", 0.75),
		sample("memory", "", "used_ratio", 0.5, "swap_total_bytes", 200, "swap_used_bytes", 50),
		sample("disk", "/", "used_ratio", 0.5, "free_bytes", 50), sample("disk", "/data", "used_ratio", 0.75, "free_bytes", 25), sample("disk", "/gone", "mounted", false),
		sample("network", "eth0", "rx_bytes_per_second", 1000, "tx_bytes_per_second", 2500, "speed_bits_per_second", 100_000),
		sample("network", "wlan0", "rx_bytes_per_second", 12_500, "tx_bytes_per_second", 500),
		sample("temperature", "cpu", "temperature_celsius", -5), sample("temperature", "board", "temperature_celsius", -20),
		sample("units", "a.service", "active", true), sample("units", "b.service", "active", false), sample("units", "c.service", "active", false),
		sample("clock", "", "synchronised", true, "offset_seconds", 0.125),
		sample("files", "", "open_count", 700, "open_ratio", 0.25), sample("processes", "", "blocked_count", 2, "threads_count", 90, "forks_per_second", 1.5),
		sample("disk_io", "sda", "await_seconds", 0.002), sample("disk_io", "sdb", "await_seconds", 0.25), sample("disk_io", "sdc", "busy_ratio", 0),
		sample("network", "usb0", "rx_errors_per_second", 1, "tx_errors_per_second", 2, "rx_drops_per_second", 4, "tx_drops_per_second", 8),
		sample("network", "usb1", "rx_errors_per_second", 0.5, "tx_errors_per_second", 0, "rx_drops_per_second", 0.25, "tx_drops_per_second", 0),
		sample("units", "b.service", "active", false, "restarts_count", 3, "memory_bytes", 5000, "tasks_count", 4),
		sample("units", "c.service", "active", false, "restarts_count", 4, "memory_bytes", 3000, "tasks_count", 9),
		sample("w1", "28-a", "fault", "gone"), sample("w1", "28-b", "temperature_celsius", 7), sample("i2c", "x", "fault", "stuck"),
		sample("probe", "", "verdict", "dns", "carrier", true, "gateway_loss_ratio", 0.25, "gateway_seconds", 0.5, "dns_ok", false, "dns_seconds", 1.25,
			"broker_ok", true, "broker_seconds", 0.375),
	} {
		feed.Sample(&s)
	}
	feed.Link(true, 0, "")
	feed.Round(noon.Add(30*time.Second), true)
	want := "DeviceStatus(deviceId=pump cpuUtilization=25 memoryUtilization=50 swapUtilization=25 diskUtilization=75 diskFree=25 " +
		"diskBusy=0 networkReceive=13500 networkTransmit=3000 networkUtilization=20 temperature=-5 openFilesUtilization=25 unitsDown=2 clockSynchronised=true clockOffset=0.125 " +
		"openFiles=700 forks=1.5 threads=90 blockedTasks=2 diskAwait=250 networkErrors=3.5 networkDrops=12.25 unitRestarts=7 unitMemory=5000 unitTasks=9 sensorFaults=2 " +
		"uplinkCarrier=true gatewayLoss=25 gatewayDelay=500 dnsFailing=true dnsDelay=1250 brokerFailing=false brokerDelay=375 clockTrusted=true linkUp=true)"
	if got != want {
		t.Errorf("fresh:\n%s, want\n%s", got, want)
	}
	feed.Round(noon.Add(31*time.Second), true)
	if want := "DeviceStatus(deviceId=pump diskUtilization=75 diskFree=25 clockTrusted=true linkUp=true)"; got != want {
		t.Errorf("after 31 s:\n%s, want\n%s", got, want)
	}
}

func TestAStormOfInstancesDoesNotGrowTheFeed(t *testing.T) {
	disks := 0.0
	feed := remediate.NewFeed(remediate.Catalogue(), remediate.FeedOptions{Send: func(typ *epl.Type, vals []epl.Value) {
		if i := typ.Index("networkReceive"); i > 0 {
			disks, _ = vals[i].Float()
		}
	}})
	for i := range 1000 {
		s := sample("network", fmt.Sprint("eth", i), "rx_bytes_per_second", 1)
		feed.Sample(&s)
	}
	if feed.Round(noon, true); disks != 64 {
		t.Errorf("%g instances are kept, want 64", disks)
	}
}

func TestEventsCostNoMemory(t *testing.T) {
	feed := remediate.NewFeed(remediate.Catalogue(), remediate.FeedOptions{Device: "pump", Send: func(*epl.Type, []epl.Value) {}})
	s := sample("network", "eth0", "rx_bytes_per_second", 1000, "tx_bytes_per_second", 2500, "carrier", true)
	e := sample("gpio_edge", "door", "level", 1, "high", true, "seq", 7)
	if n := testing.AllocsPerRun(100, func() { feed.Sample(&s); feed.Sample(&e); feed.Round(noon, true); feed.Link(true, 0, "x") }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// Every property is a name that a statement may use as it is, and of which no type has two.
func TestEveryPropertyCanBeWrittenAsItIs(t *testing.T) {
	all := remediate.Catalogue()
	engine := epl.New(epl.Options{Types: remediate.Types(all)})
	names := map[string]bool{}
	for _, e := range all {
		if names[e.Type.Name] {
			t.Errorf("two types are called %s", e.Type.Name)
		}
		names[e.Type.Name] = true
		columns := map[string]bool{}
		for _, p := range e.Type.Properties {
			if columns[p.Name] {
				t.Errorf("%s has two properties %s", e.Type.Name, p.Name)
			}
			columns[p.Name] = true
			text := fmt.Sprintf("select %s from %s(%s is not null)", p.Name, e.Type.Name, p.Name)
			all, err := epl.Parse("", text)
			if err == nil {
				_, err = engine.Deploy(all...)
			}
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		if e.Type.Properties[0].Name != "deviceId" || e.Instance != "" && e.Type.Properties[1].Name != e.Instance {
			t.Errorf("%s does not begin with deviceId and its instance", e.Type.Name)
		}
	}
}
