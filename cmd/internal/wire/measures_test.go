package wire_test

import (
	"flag"
	"os"
	"testing"

	"holdfast/collectors"
	"holdfast/collectors/host"
	"holdfast/collectors/i2c"
	"holdfast/collectors/journal"
	"holdfast/collectors/pins"
	"holdfast/collectors/probe"
	"holdfast/collectors/sensors"
	"holdfast/collectors/units"
)

var update = flag.Bool("update", false, "rewrite docs/measures.md")

const measuresHead = `# Measures

What the sources measure, as it stands in telemetry: a sample has a source, where there are several of a kind an instance,
and fields. Names carry the SI unit. A ratio is between 0 and 1, a rate is the mean since the sample before, and a field that
the machine has no answer for is left out. A source that a machine lacks is left out whole.

This page is generated from the code: ` + "`go test ./cmd/internal/wire -update`.\n"

func TestTheMeasuresAreDocumented(t *testing.T) {
	const path = "../../../docs/measures.md"
	want := measuresHead +
		"\n## The machine\n" + collectors.MeasuresMarkdown(host.Measures()) +
		"\n## Sensors\n" + collectors.MeasuresMarkdown(sensors.Measures()) + collectors.MeasuresMarkdown(i2c.Measures()) +
		"\n## systemd and its log\n" + collectors.MeasuresMarkdown(units.Measures()) + collectors.MeasuresMarkdown(journal.Measures()) +
		"\n## Beyond the machine\n" + collectors.MeasuresMarkdown(probe.Measures()) +
		"\n## GPIO lines\n" + collectors.MeasuresMarkdown(pins.Measures()) +
		"\n## The collectors themselves\n" + collectors.MeasuresMarkdown(collectors.Measures())
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says: go test ./cmd/internal/wire -update", path)
	}
}
