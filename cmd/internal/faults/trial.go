//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A trial is one device with one fault after the other.
type trial struct {
	b      *bench
	d      *device
	o      options
	ear    *ear
	labels io.Writer // of the recording
	done   []injected
}

// An injected fault, and what came of it. Control is all that happened while there was none, on purpose.
type injected struct {
	Device, Fault string
	Strength      float64
	Rep           int
	At, Ended     time.Time
	Mended        bool    // by itself or by a repair: nobody took the fault back
	Load          float64 // of this machine
	Events        []event
	Skipped       string // why it could not be injected here
}

// control is what stands for a fault where there is none.
const control = "control"

// A pace is how long things take at most, and at least.
type pace struct {
	fault, repairable [2]time.Duration // how long a fault lasts when nothing repairs it
	calm              [2]time.Duration // how long all is well between two
	start             time.Duration    // how long all is well before the first
	settle            time.Duration    // in which all has to be well again
}

var (
	recorded = pace{fault: [2]time.Duration{13 * time.Second, 18 * time.Second}, repairable: [2]time.Duration{13 * time.Second, 18 * time.Second},
		calm: [2]time.Duration{14 * time.Second, 20 * time.Second}, start: 20 * time.Second}
	judged = pace{fault: [2]time.Duration{18 * time.Second, 22 * time.Second}, repairable: [2]time.Duration{75 * time.Second, 75 * time.Second},
		calm: [2]time.Duration{9 * time.Second, 12 * time.Second}, start: 20 * time.Second, settle: 45 * time.Second}
	hurried = pace{fault: [2]time.Duration{15 * time.Second, 15 * time.Second}, repairable: [2]time.Duration{45 * time.Second, 45 * time.Second},
		calm: [2]time.Duration{4 * time.Second, 6 * time.Second}, start: 12 * time.Second, settle: 15 * time.Second}
)

// few are the faults of a short run: one of each kind of repair, and two that are only named.
var few = []string{"mem_leak", "disk_full", "dns_fail", "net_down", "sensor_stuck"}

func (t *trial) run(ctx context.Context) error {
	name, p, only := t.b.path("rows.csv"), judged, t.o.only
	if t.o.short {
		p = hurried
		if len(only) == 0 {
			only = few
		}
	}
	list, err := chosen(only)
	if err != nil {
		return err
	}
	if t.o.record != "" {
		name, p = filepath.Join(t.o.record, fmt.Sprintf("%s-%d.csv", t.d.id, t.o.seed)), recorded
	}
	if t.ear, err = t.b.listen(ctx, t.d.id); err != nil {
		return err
	}
	if err := t.recorder(ctx, name); err != nil {
		return err
	}
	rnd := t.b.rnd("faults")
	start := time.Now()
	if !wait(ctx, p.start) {
		return context.Cause(ctx)
	}
	for rep := range t.o.repetitions {
		fmt.Fprintf(t.labels, "rep %d\n", rep)
		for _, i := range rnd.Perm(len(list)) {
			if f := list[i]; f.lacks != nil && f.lacks(t.d) != "" {
				t.done = append(t.done, injected{Device: t.d.id, Fault: f.name, At: time.Now(), Skipped: f.lacks(t.d)})
				fmt.Printf("%-8s %s is skipped: %s\n", t.d.id, f.name, f.lacks(t.d))
				continue
			}
			// Each repetition has another strength: the weakest first, and none twice.
			strength := (float64(rep) + rnd.Float64()) / float64(t.o.repetitions)
			if err := t.inject(ctx, p, list[i], rep, strength, rnd); err != nil {
				return fmt.Errorf("%s: %w", list[i].name, err)
			}
		}
		if err := t.d.forget(); err != nil {
			return err
		}
	}
	return t.rest(ctx, time.Since(start))
}

// rest is the control: as long as the faults took, or a part of it, with nothing but what the application does when all is well.
func (t *trial) rest(ctx context.Context, faults time.Duration) error {
	lasts := max(time.Duration(float64(faults)*t.o.control), t.o.rest)
	r := injected{Device: t.d.id, Fault: control, At: time.Now(), Load: loadNow()}
	if !wait(ctx, lasts) {
		return context.Cause(ctx)
	}
	r.Ended = time.Now()
	t.done = append(t.done, r)
	wait(ctx, 3*time.Second) // for what is on its way
	for i := range t.done {
		until := time.Time{}
		if i+1 < len(t.done) {
			until = t.done[i+1].At
		}
		t.done[i].Events = t.ear.between(t.done[i].At, until)
	}
	fmt.Printf("%s  %-8s %-12s       %5.1f s  load %.1f\n", time.Now().Format("15:04:05"), t.d.id, control, lasts.Seconds(), loadNow())
	return nil
}

// recorder starts holdfastctl, which writes the rows.
func (t *trial) recorder(ctx context.Context, name string) error {
	os.Remove(name)
	cmd := exec.Command(filepath.Join(t.b.bin, "holdfastctl"), "model", "record", t.d.id, "--out", name, "--broker", "mqtt://"+brokerAddr+":1883")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	t.labels = in
	if err := t.b.keep("record", cmd); err != nil {
		return err
	}
	return t.b.within(ctx, 10*time.Second, func() error {
		said, err := os.ReadFile(t.b.path("record.log"))
		if err == nil && !strings.Contains(string(said), "recording") {
			err = fmt.Errorf("holdfastctl model record: %s", said)
		}
		return err
	})
}

// inject has one fault, and waits until all is well again.
func (t *trial) inject(ctx context.Context, p pace, f fault, rep int, strength float64, rnd *rand.Rand) error {
	before := t.d.mark()
	r := injected{Device: t.d.id, Fault: f.name, Strength: strength, Rep: rep, At: time.Now(), Load: loadNow()}
	fmt.Fprintf(t.labels, "label %s\n", f.name)
	if err := f.begin(ctx, t.d, strength, rnd); err != nil {
		return err
	}
	bounds := p.fault
	if f.repairable {
		bounds = p.repairable
	}
	end := r.At.Add(within(rnd, bounds))
	for time.Now().Before(end) && ctx.Err() == nil {
		wait(ctx, 200*time.Millisecond)
		if t.o.record != "" || !f.repairable {
			continue
		}
		if !r.Mended && time.Since(r.At) > 4*time.Second && f.gone(t.d, before) {
			r.Mended = true
			fmt.Fprintln(t.labels, "normal")
		}
		if r.Mended && t.verdict(r.At, f.name) {
			break
		}
	}
	if !r.Mended {
		r.Mended = f.repairable && f.gone(t.d, before)
	}
	err := f.end(ctx, t.d)
	fmt.Fprintln(t.labels, "normal")
	r.Ended = time.Now()
	t.done = append(t.done, r)
	fmt.Printf("%s  %-8s %-12s %.2f  %5.1f s  load %.1f  %s\n", r.Ended.Format("15:04:05"), t.d.id, f.name, strength, r.Ended.Sub(r.At).Seconds(), r.Load,
		story(t.ear.between(r.At, time.Time{}), r.At))
	if err != nil {
		return err
	}
	// The next begins when nothing is open any more.
	quiet := time.Now().Add(p.settle)
	for time.Now().Before(quiet) && len(t.ear.open()) > 0 && wait(ctx, 500*time.Millisecond) {
	}
	if !wait(ctx, within(rnd, p.calm)) {
		return context.Cause(ctx)
	}
	return nil
}

// verdict reports whether the device has said of a repair whether it helped.
func (t *trial) verdict(since time.Time, name string) bool {
	return slices.ContainsFunc(t.ear.between(since, time.Time{}), func(e event) bool {
		return e.Kind == "repair" && e.Fault == name && e.Phase == "helped"
	})
}

func within(rnd *rand.Rand, bounds [2]time.Duration) time.Duration {
	return bounds[0] + time.Duration(rnd.Int64N(int64(max(bounds[1]-bounds[0], 1))))
}

// story is what a device told, in a line.
func story(all []event, from time.Time) string {
	var parts []string
	for _, e := range all {
		at := e.Time.Sub(from).Seconds()
		switch e.Kind {
		case "alert":
			if e.Phase == "raised" {
				parts = append(parts, fmt.Sprintf("%.0f s alert %s", at, e.Rule))
			}
		case "diagnosis":
			if e.Phase == "named" {
				parts = append(parts, fmt.Sprintf("%.0f s %s by %s", at, e.Fault, e.By))
			} else {
				parts = append(parts, fmt.Sprintf("%.0f s %s over", at, e.Fault))
			}
		case "repair":
			what := e.Do
			if e.Reason != "" || e.Error != "" {
				what += " (" + e.Reason + e.Error + ")"
			}
			parts = append(parts, fmt.Sprintf("%.0f s %s %s %s", at, e.Phase, e.Fault, what))
		}
	}
	return strings.Join(parts, ", ")
}

func loadNow() (load float64) {
	b, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Sscan(strings.TrimSpace(string(b)), &load)
	return load
}

func (t *trial) save(name string) error {
	b, err := json.Marshal(t.done)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}
