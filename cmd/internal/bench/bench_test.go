package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// build returns the path of a program of this module, built without the race detector, as it is shipped.
func build(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// lastLine is the one for machines, as key to value and target.
func lastLine(out []byte) map[string]string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	figures := map[string]string{}
	if rest, ok := strings.CutPrefix(lines[len(lines)-1], "bench: "); ok {
		for _, m := range regexp.MustCompile(`(\w+)=(\S+ \([<>]=[^)]*\))`).FindAllStringSubmatch(rest, -1) {
			figures[m[1]] = m[2]
		}
	}
	return figures
}

func TestAMissedTargetIsNamedAndFails(t *testing.T) {
	bench := build(t, "holdfast/cmd/internal/bench")
	program := filepath.Join(t.TempDir(), "holdfast")
	if err := os.WriteFile(program, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		bytes  int64
		status int
		want   string
	}{
		{12_000_000, 0, "12000000 (<=12000000)"},
		{12_000_001, 1, "12000001 (<=12000000)"},
	} {
		if err := os.Truncate(program, tt.bytes); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bench, "-only", "size", "-armv7", program)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != tt.status {
			t.Errorf("%d bytes: exit status %d, want %d", tt.bytes, got, tt.status)
		}
		if got := lastLine(out)["armv7_bytes"]; got != tt.want {
			t.Errorf("%d bytes: armv7_bytes = %q, want %q", tt.bytes, got, tt.want)
		}
		if named := strings.Contains(string(out), "MISSED"); named != (tt.status != 0) {
			t.Errorf("%d bytes: the table says missed: %t\n%s", tt.bytes, named, out)
		}
	}
}

// A program in place of the benchmarks says what they would.
func TestFiguresOfRulesAreTheFastestOfAllRuns(t *testing.T) {
	bench := build(t, "holdfast/cmd/internal/bench")
	said := "BenchmarkEvent/filter-2 100 999 ns/op %s cpu-ns/op 0 B/op %s allocs/op\nBenchmarkEvent/filter-2 100 9 ns/op 70.5 cpu-ns/op 0 B/op %[2]s allocs/op\n" +
		"BenchmarkEvent/average-2 100 90 cpu-ns/op 0 B/op 0 allocs/op\nBenchmarkEvent/followed-2 100 90 cpu-ns/op 0 B/op 0 allocs/op\nBenchmarkEvent/absence-2 100 90 cpu-ns/op 0 B/op 0 allocs/op\n" +
		"BenchmarkHundredRules-2 10 9 ns/op 0.25 %%core\n"
	window := "BenchmarkWindowBytes-2 10 9 ns/op 700000 B/60000rows\n"
	for _, tt := range []struct {
		name, ns, allocs, rest string
		status                 int
		filter, allocations    string
	}{
		{"all kept", "49.5", "0", window, 0, "49.5 (<=50)", "0 (<=0)"},
		{"too slow", "50.5", "0", window, 1, "50.5 (<=50)", "0 (<=0)"},
		{"an allocation", "49.5", "1", window, 1, "49.5 (<=50)", "1 (<=0)"},
		{"one is missing", "49.5", "0", "", 1, "", ""},
	} {
		program := filepath.Join(t.TempDir(), "epl.test")
		text := "#!/bin/sh\ncat <<'EOF'\n" + fmt.Sprintf(said, tt.ns, tt.allocs) + tt.rest + "EOF\n"
		if err := os.WriteFile(program, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(bench, "-only", "rules", "-epl", program)
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		figures := lastLine(out)
		if got := cmd.ProcessState.ExitCode(); got != tt.status || figures["rule_filter_ns"] != tt.filter || figures["rule_allocs"] != tt.allocations {
			t.Errorf("%s: exit status %d, %q, %q", tt.name, got, figures["rule_filter_ns"], figures["rule_allocs"])
		}
	}
}

// The long version, with a thousand kills, is part of make bench.
func TestKillsLoseNothing(t *testing.T) {
	for _, tool := range []string{"mosquitto", "mosquitto_sub", "stdbuf"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: apt-get install mosquitto mosquitto-clients coreutils", tool)
		}
	}
	agent := build(t, "holdfast/cmd/holdfast")
	cmd := exec.Command(build(t, "holdfast/cmd/internal/bench"), "-only", "kills", "-holdfast", agent, "-broker-kills", "20", "-agent-kills", "5")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out) // with the seed
	figures := lastLine(out)
	for _, key := range []string{"broker_kills_missing", "agent_kills_events_missing", "agent_kills_readings_missing", "agent_kills_audits_missing"} {
		if figures[key] != "0 (<=0)" {
			t.Errorf("%s = %q, want 0", key, figures[key])
		}
	}
}
