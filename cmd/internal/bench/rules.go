package main

import (
	"bufio"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

const ruleRuns = "5" // of each benchmark; the least counts, since others use this machine, too

// ruleFigures are the benchmarks of remediate/epl, what they may take, and what Esper 9 takes on a machine of this kind.
var ruleFigures = []struct {
	bench, unit, key, about string
	target                  float64
	esper                   string
}{
	{"Event/filter", "cpu-ns/op", "rule_filter_ns", "event and rule, filter, ns", 50, "142 ns"},
	{"Event/average", "cpu-ns/op", "rule_average_ns", "event and rule, average of 60 s for each of 100 devices, ns", 100, "426 ns"},
	{"Event/followed", "cpu-ns/op", "rule_followed_ns", "event and rule, every a -> b within 10 s, ns", 100, "484 ns"},
	{"Event/absence", "cpu-ns/op", "rule_absence_ns", "event and rule, absence of 10 s for each of 100 devices, ns", 150, "673 ns"},
	{"HundredRules", "%core", "rules_core_percent", "100 rules, 50 events/s, % of a core", 1, ""},
	{"WindowBytes", "B/60000rows", "rule_window_bytes", "60,000 rows of a window, bytes", 1_000_000, "over 150 MB, the whole process"},
}

// rules runs the benchmarks of the rule engine, in the program that go test makes of them.
func rules(w *workshop, o options, t *table) error {
	cmd := exec.CommandContext(w.ctx, o.epl, "-test.run", "^$", "-test.bench", "Event|HundredRules|WindowBytes", "-test.benchmem", "-test.count", ruleRuns)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.2000s", o.epl, err, out)
	}
	best := measured(string(out))
	allocs := 0.0
	for _, f := range ruleFigures {
		v, ok := best[f.bench+" "+f.unit]
		if !ok {
			return fmt.Errorf("%s says nothing of %s in %s", o.epl, f.bench, f.unit)
		}
		t.atMost(f.key, f.about, round(v, 2), f.target)
		if f.esper != "" {
			t.reference("the same, Esper 9", f.esper)
		}
		if strings.HasPrefix(f.bench, "Event/") {
			allocs += best[f.bench+" allocs/op"]
		}
	}
	t.atMost("rule_allocs", "allocations of an event, these four rules", allocs, 0)
	t.note("rules: 100 devices take turns at random, 50 events a second; a tenth of the events is above 90, a tenth below 10. Moving the "+
		"time and checking the event count. It is time of the processor, the least of %s runs; load %s.", ruleRuns, load())
	return nil
}

// measured reads what go test prints of benchmarks: by name and unit, the least of all runs.
func measured(out string) map[string]float64 {
	best := map[string]float64{}
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		words := strings.Fields(s.Text())
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(words[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
			name = name[:i]
		}
		for i := 2; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				continue
			}
			key := name + " " + words[i+1]
			if old, ok := best[key]; !ok || v < old {
				best[key] = v
			}
		}
	}
	return best
}
