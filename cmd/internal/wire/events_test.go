package wire_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"holdfast/collectors"
	"holdfast/collectors/host"
	"holdfast/collectors/i2c"
	"holdfast/collectors/journal"
	"holdfast/collectors/pins"
	"holdfast/collectors/probe"
	"holdfast/collectors/sensors"
	"holdfast/collectors/units"
	"holdfast/remediate"
	"holdfast/remediate/epl"
)

const eventsHead = `# Event types

What rules can name. Every event has the property ` + "`deviceId`" + `, a string: the device's own id. A property without a value is null, and a
comparison with null does not match. Numbers that are no counts are doubles; a ratio is between 0 and 1, where DeviceStatus has
percent.

This page is generated from the code: ` + "`go test ./cmd/internal/wire -update`.\n" + `
## DeviceStatus

The present of the whole machine. It is sent once a round: when the readings that began together are over, or at the latest
when the next ones begin. It has the latest value of every source; one that is older than three of its source's periods, and than 30 s, is null.
What the machine lacks is null from the start.

| property | kind | unit | meaning |
|---|---|---|---|
`

const eventsSamples = `
## Samples

Each sample of a source is an event of its own, before it is digested or held back: what is sent to the cloud less often is seen here at
its period. Where a source has several of a kind, a property says which; it is null for the whole.
`

const eventsOwn = `
## What the agent says itself

### LinkState

The connection to the cloud came up or went down.

| property | kind | unit | meaning |
|---|---|---|---|
| ` + "`up`" + ` | boolean | truth | it is there |
| ` + "`down_seconds`" + ` | double | s | how long it was away; null when it goes |
| ` + "`reason`" + ` | string | text | why it went or could not be made; null when there is none |

### Crash

The kernel crashed before this start, and left word of it. Sent once for each crash, after the event of the same name is on flash.

| property | kind | unit | meaning |
|---|---|---|---|
| ` + "`id`" + ` | string | text | names the crash |
| ` + "`name`" + ` | string | text | of the record it was left in |
| ` + "`reason`" + ` | string | text | as the kernel has it: Panic, Oops and so on |
| ` + "`reset`" + ` | string | text | why this start came about |
| ` + "`message`" + ` | string | text | the end of the kernel's log |
`

var statusHelp = map[string][2]string{
	"cpuUtilization":       {"%", "time not idle and not waiting for a disk, of all cores"},
	"cpuIowait":            {"%", "time idle while a task waited for a disk"},
	"cpuPressure":          {"%", "part of the last 10 s in which some task waited for a processor"},
	"ioPressure":           {"%", "part of the last 10 s in which some task waited for a disk"},
	"load":                 {"count", "tasks that ran or wanted to, mean of one minute"},
	"load5":                {"count", "mean of five minutes"},
	"load15":               {"count", "mean of fifteen minutes"},
	"memoryUtilization":    {"%", "memory that programs cannot have any more without swapping"},
	"memoryAvailable":      {"bytes", "memory that they can have"},
	"memoryPressure":       {"%", "part of the last 10 s in which some task waited for memory"},
	"swapUtilization":      {"%", "swap space in use; null without any"},
	"diskUtilization":      {"%", "of the fullest file system, as df shows it"},
	"diskFree":             {"bytes", "what can still be written, of the file system with the least"},
	"inodeUtilization":     {"%", "files of the file system with the most of those it can hold"},
	"diskRead":             {"B/s", "read from all disks"},
	"diskWrite":            {"B/s", "written to all disks"},
	"diskBusy":             {"%", "time with a request under way, of the busiest disk"},
	"networkReceive":       {"B/s", "received by all interfaces"},
	"networkTransmit":      {"B/s", "sent by all interfaces"},
	"networkUtilization":   {"%", "of the capacity of the busiest interface, in its busier direction; where the link does not say its speed, of network.capacity"},
	"temperature":          {"°C", "of the hottest sensor of the source temperature"},
	"coolingUtilization":   {"%", "how hard the busiest cooling device works"},
	"batteryCharge":        {"%", "of the emptiest battery"},
	"flashWear":            {"%", "life used of the most worn flash"},
	"processes":            {"count", "processes of the machine"},
	"openFilesUtilization": {"%", "open files, of as many as there may be"},
	"uptime":               {"s", "since the kernel started"},
	"unitsDown":            {"count", "watched units that are not active; null when none are watched"},
	"clockSynchronised":    {"truth", "something such as NTP keeps the wall clock right"},
	"clockOffset":          {"s", "what the kernel is still to correct"},
	"agentMemory":          {"bytes", "resident memory of the agent"},
	"recordsWaiting":       {"count", "records that wait to be sent, or for the broker's acknowledgement"},
	"openFiles":            {"count", "open files of the whole machine"},
	"forks":                {"1/s", "processes and threads made"},
	"threads":              {"count", "tasks of the whole machine"},
	"blockedTasks":         {"count", "tasks that wait for a disk"},
	"diskAwait":            {"ms", "what a request took, of the slowest disk"},
	"networkErrors":        {"1/s", "packets that arrived broken or could not be sent, of all interfaces"},
	"networkDrops":         {"1/s", "packets thrown away, of all interfaces"},
	"unitRestarts":         {"count", "restarts by systemd itself, of all watched units; null when none are watched"},
	"unitMemory":           {"bytes", "of the watched unit with the most"},
	"unitTasks":            {"count", "of the watched unit with the most"},
	"sensorFaults":         {"count", "sensors of the sources temperature, hwmon, iio, w1 and i2c that have a fault; null without sensors"},
	"uplinkCarrier":        {"truth", "the interface of the default route has a link"},
	"gatewayLoss":          {"%", "of the last echoes asked of the gateway, how many did not come back; null where it cannot be asked"},
	"gatewayDelay":         {"ms", "until an echo was back"},
	"dnsFailing":           {"truth", "names are not answered"},
	"dnsDelay":             {"ms", "until a name was answered"},
	"brokerFailing":        {"truth", "no connection to the broker can be made"},
	"brokerDelay":          {"ms", "until a connection to the broker was made"},
	"clockTrusted":         {"truth", "the wall clock is right: it is synchronised, or the configuration vouches for it"},
	"linkUp":               {"truth", "the connection to the cloud is there; null before it first came up or failed"},
}

// Every field that a source has is a property of its event type, of the kind that its unit asks for, and the page says so.
func TestTheEventTypesAreThoseOfTheMeasuresAndDocumented(t *testing.T) {
	measures := slices.Concat(host.Measures(), sensors.Measures(), i2c.Measures(), units.Measures(), journal.Measures(), probe.Measures(), pins.Measures(), collectors.Measures())
	all := remediate.Catalogue()
	var b strings.Builder
	b.WriteString(eventsHead)
	for _, p := range all[0].Type.Properties[1:] {
		help := statusHelp[p.Name]
		if help[0] == "" {
			t.Errorf("DeviceStatus.%s is not described", p.Name)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", p.Name, p.Kind, help[0], help[1])
	}
	b.WriteString(eventsSamples)
	sources := map[string]bool{}
	for _, e := range all {
		if e.Source == "" {
			continue
		}
		sources[e.Source] = true
		fmt.Fprintf(&b, "\n### %s\n\nOf the source `%s`.\n\n| property | kind | unit | meaning |\n|---|---|---|---|\n", e.Type.Name, e.Source)
		described(t, &b, e, measures)
	}
	for _, m := range measures {
		if !sources[m.Source] {
			t.Errorf("no event type is made of the source %s", m.Source)
			sources[m.Source] = true
		}
	}
	b.WriteString(eventsOwn)
	const path = "../../../docs/events.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the code says: go test ./cmd/internal/wire -update (%v)", path, err)
	}
}

func described(t *testing.T, b *strings.Builder, e remediate.EventType, measures []collectors.Measure) {
	properties := e.Type.Properties[1:]
	measures = slices.DeleteFunc(slices.Clone(measures), func(m collectors.Measure) bool { return m.Source != e.Source })
	if len(measures) == 0 {
		t.Errorf("%s: no source %s", e.Type.Name, e.Source)
		return
	}
	if (measures[0].Instance == "") != (e.Instance == "") {
		t.Errorf("%s has the instance %q, and the source %q", e.Type.Name, e.Instance, measures[0].Instance)
	}
	if e.Instance != "" {
		fmt.Fprintf(b, "| `%s` | string | text | %s |\n", e.Instance, strings.TrimSuffix(measures[0].Instance, "."))
		properties = properties[1:]
	}
	for i, field := range e.Fields {
		at := slices.IndexFunc(measures, func(m collectors.Measure) bool { return m.Field == field })
		if at < 0 {
			t.Errorf("%s: %s has no field %s", e.Type.Name, e.Source, field)
			continue
		}
		m := measures[at]
		want := []epl.Kind{epl.Double}
		switch m.Unit {
		case "text":
			want[0] = epl.Text
		case "truth":
			want[0] = epl.Bool
		case "count":
			want = []epl.Kind{epl.Int, epl.Long}
			if e.Source == "load" {
				want = append(want, epl.Double)
			}
		case "µs":
			want[0] = epl.Long
		}
		if !slices.Contains(want, properties[i].Kind) {
			t.Errorf("%s.%s is a %s, and %s a %s", e.Type.Name, properties[i].Name, properties[i].Kind, field, m.Unit)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", properties[i].Name, properties[i].Kind, m.Unit, m.Help)
	}
	for _, m := range measures {
		if !slices.Contains(e.Fields, m.Field) && m.Field != e.Instance {
			t.Errorf("%s lacks the field %s", e.Type.Name, m.Field)
		}
	}
}
