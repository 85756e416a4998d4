//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// What has to be reached, in percent.
const (
	namedLeast    = 90
	repairedLeast = 80
)

// A sheet is what came of all injected faults.
type sheet struct {
	kinds                map[string]*tally
	injected, named      int
	repairable, repaired int
	wrong                []string // repairs of what was not there
	control              []string // repairs where nothing was wrong
	controlled           time.Duration
	controlNamed         int
	loads                []float64 // of this machine, at each injection
}

// A tally is what came of one kind of fault.
type tally struct {
	injected, named, repairable, repaired int
	called                                map[string]int // what else it was called first
	by                                    map[string]int
	alerts                                []float64 // seconds to the first alert or diagnosis
	rungs                                 map[string]int
}

// add takes one injection.
func (s *sheet) add(r injected, repairable bool) {
	if r.Fault == control {
		s.controlled += r.Ended.Sub(r.At)
		for _, e := range r.Events {
			if e.Kind == "repair" && acted(e) {
				s.control = append(s.control, fmt.Sprintf("%s: %s by %s", r.Device, e.Fault, e.Do))
			}
			if e.Kind == "diagnosis" && e.Phase == "named" {
				s.controlNamed++
			}
		}
		return
	}
	s.loads = append(s.loads, r.Load)
	t := s.kinds[r.Fault]
	if t == nil {
		t = &tally{called: map[string]int{}, by: map[string]int{}, rungs: map[string]int{}}
		s.kinds[r.Fault] = t
	}
	t.injected++
	s.injected++
	first, helped := "", false
	for _, e := range r.Events {
		told := e.Kind == "diagnosis" && e.Phase == "named" || e.Kind == "alert" && e.Phase == "raised"
		if told && len(t.alerts) < t.injected && e.Time.Before(r.Ended.Add(5*time.Second)) {
			t.alerts = append(t.alerts, e.Time.Sub(r.At).Seconds())
		}
		if e.Kind == "diagnosis" && e.Phase == "named" && first == "" && e.Fault != "unknown" && e.Time.Before(r.Ended.Add(5*time.Second)) {
			first = e.Fault
			t.by[e.By]++
		}
		if e.Kind != "repair" {
			continue
		}
		if acted(e) {
			if e.Fault != r.Fault {
				s.wrong = append(s.wrong, fmt.Sprintf("%s: %s repaired as %s by %s", r.Device, r.Fault, e.Fault, e.Do))
			} else {
				t.rungs[e.Do]++
			}
		}
		helped = helped || e.Phase == "helped" && e.Fault == r.Fault
	}
	for len(t.alerts) < t.injected {
		t.alerts = append(t.alerts, -1) // never
	}
	if first == r.Fault {
		t.named++
		s.named++
	} else {
		if first == "" {
			first = "nothing"
		}
		t.called[first]++
	}
	if repairable {
		t.repairable++
		s.repairable++
		if helped && r.Mended {
			t.repaired++
			s.repaired++
		}
	}
}

// acted reports whether something was done to the device.
func acted(e event) bool { return e.Phase == "begun" && e.Do != "ask" }

func percent(part, whole int) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}

// print writes the table, and last a line for machines. The error says which figure was missed.
func (s *sheet) print(out io.Writer, skipped []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nFAULT\tINJECTED\tNAMED RIGHT\tBY\tELSE\tFIRST ALERT s\tREPAIRED\tDEEDS\n")
	for _, f := range catalogue {
		t := s.kinds[f.name]
		if t == nil {
			continue
		}
		repaired := "-"
		if t.repairable > 0 {
			repaired = fmt.Sprintf("%d of %d", t.repaired, t.repairable)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", f.name, t.injected, t.named, counts(t.by), counts(t.called), spread(t.alerts), repaired, counts(t.rungs))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(s.loads) > 0 {
		fmt.Fprintf(out, "load of this machine, which is the devices' as well: %.1f to %.1f\n", slices.Min(s.loads), slices.Max(s.loads))
	}
	for _, text := range slices.Concat(s.wrong, s.control) {
		fmt.Fprintln(out, "wrong repair:", text)
	}
	none := "none"
	if len(skipped) > 0 {
		none = strings.Join(skipped, " ")
	}
	fmt.Fprintf(out, "faults: %d kinds, %d injected, %d named right (%.0f%%), %d repaired of %d repairable (%.0f%%), %d wrong repairs, control %.0f s: %d named, %d repairs, skipped: %s\n",
		len(s.kinds), s.injected, s.named, percent(s.named, s.injected), s.repaired, s.repairable, percent(s.repaired, s.repairable), len(s.wrong),
		s.controlled.Seconds(), s.controlNamed, len(s.control), none)
	var missed []error
	if percent(s.named, s.injected) < namedLeast {
		missed = append(missed, fmt.Errorf("fewer than %d %% are named right", namedLeast))
	}
	if percent(s.repaired, s.repairable) < repairedLeast {
		missed = append(missed, fmt.Errorf("fewer than %d %% of those that can be are repaired", repairedLeast))
	}
	if len(s.wrong)+len(s.control) > 0 {
		missed = append(missed, errors.New("something was repaired that was not broken"))
	}
	return errors.Join(missed...)
}

func counts(of map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	if parts == nil {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// spread is the median and the longest; never is longer than any.
func spread(seconds []float64) string {
	sorted := slices.Clone(seconds)
	slices.SortFunc(sorted, func(a, b float64) int {
		switch {
		case a == b:
			return 0
		case b < 0 || a >= 0 && a < b:
			return -1
		}
		return 1
	})
	text := func(v float64) string {
		if v < 0 {
			return "never"
		}
		return fmt.Sprintf("%.1f", v)
	}
	return text(sorted[(len(sorted)-1)/2]) + ", at most " + text(sorted[len(sorted)-1])
}

// judge says what came of all devices.
func judge(o options, dir string, devices []string) error {
	s := &sheet{kinds: map[string]*tally{}}
	skip := map[string]bool{}
	for _, id := range devices {
		b, err := os.ReadFile(filepath.Join(dir, id+".json"))
		if err != nil {
			return err
		}
		var all []injected
		if err := json.Unmarshal(b, &all); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		for _, r := range all {
			if r.Skipped != "" {
				skip[r.Fault] = true
				continue
			}
			i := slices.IndexFunc(catalogue, func(f fault) bool { return f.name == r.Fault })
			s.add(r, i >= 0 && catalogue[i].repairable)
		}
	}
	if o.record != "" {
		return nil
	}
	if err := s.print(os.Stdout, slices.Sorted(maps.Keys(skip))); err != nil {
		return err
	}
	return nil
}
