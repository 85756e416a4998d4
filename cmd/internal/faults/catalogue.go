//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// A fault is one of the catalogue in docs/faults.md.
type fault struct {
	name string
	// begin injects it, with a strength of 0 to 1.
	begin func(ctx context.Context, d *device, strength float64, rnd *rand.Rand) error
	// end takes back what no repair on the device could, or what none did.
	end        func(ctx context.Context, d *device) error
	repairable bool
	// lacks says what this kernel does not have for it; nil for a fault that any has.
	lacks func(d *device) string
	// gone reports whether the fault is there no more; before is the mark from before it was injected.
	gone func(d *device, before mark) bool
}

// ordered is a fault in the application: it is told to misbehave, and stops when its unit is started anew.
func ordered(name string) fault {
	return fault{name: name, repairable: true,
		begin: func(_ context.Context, d *device, strength float64, _ *rand.Rand) error {
			return d.order(order{name, strength})
		},
		end: func(ctx context.Context, d *device) error { return d.mend(ctx) },
		gone: func(d *device, before mark) bool {
			if name == "disk_full" {
				_, err := os.Stat(d.inside(appCache + "/junk"))
				return errors.Is(err, os.ErrNotExist)
			}
			now := d.mark()
			if name == "crash_loop" {
				return now.app != 0 && time.Since(now.since) > 4*time.Second
			}
			return now.app != before.app && now.app != 0
		}}
}

// onWire is a fault of the wire.
func onWire(name string, change func(w *weather, strength float64)) fault {
	return fault{name: name,
		begin: func(_ context.Context, d *device, strength float64, _ *rand.Rand) error {
			w := d.weather
			change(&w, strength)
			d.b.wire.set(w)
			return nil
		},
		end: func(_ context.Context, d *device) error { d.b.wire.set(d.weather); return nil }}
}

var catalogue = []fault{
	ordered("cpu_hog"),
	ordered("mem_leak"),
	ordered("disk_full"),
	ordered("io_hog"),
	ordered("fd_leak"),
	ordered("proc_storm"),
	ordered("crash_loop"),
	{name: "net_down", repairable: true, begin: unplug, end: plug,
		gone:  func(d *device, _ mark) bool { return !d.b.wire.hangs() },
		lacks: func(d *device) string { return reason(d.b.wire.carrier(true)) }},
	onWire("net_loss", func(w *weather, strength float64) { w.loss = between(strength, 0.15, 0.5) }),
	onWire("net_slow", func(w *weather, strength float64) {
		w.bitsPerSec, w.queueBytes = between(strength, 256e3, 96e3), 48<<10
		w.delay, w.jitter = time.Duration(between(strength, 150, 500))*time.Millisecond, time.Duration(between(strength, 30, 150))*time.Millisecond
	}),
	{name: "dns_fail", begin: func(_ context.Context, d *device, _ float64, rnd *rand.Rand) error {
		d.b.names.how.Store(namesSilent + rnd.Int32N(3))
		return nil
	}, end: func(_ context.Context, d *device) error { d.b.names.how.Store(namesWell); return nil }},
	{name: "sensor_stuck", lacks: noThermal, begin: func(_ context.Context, d *device, _ float64, _ *rand.Rand) error { d.v.stick(true); return nil },
		end: func(_ context.Context, d *device) error { d.v.stick(false); return nil }},
	{name: "throttle", lacks: noThermal, begin: func(_ context.Context, d *device, strength float64, _ *rand.Rand) error {
		return d.heat(2 + int(strength*3.99))
	}, end: func(_ context.Context, d *device) error { return d.heat(0) }},
}

// noThermal says whether there is a place for the files of a thermal zone and a cooling device, which no driver of this kernel has.
func noThermal(*device) string {
	_, err := os.Stat("/sys/class/thermal")
	return reason(err)
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// unplug takes the carrier away. A driver that hangs gives it back when its interface is set down and up again.
func unplug(_ context.Context, d *device, _ float64, _ *rand.Rand) error {
	return d.b.wire.hang(func() bool {
		b, err := os.ReadFile(d.inside("/sys/class/net/" + thereName + "/flags"))
		return err == nil && strings.HasSuffix(strings.TrimSpace(string(b)), "2") // IFF_BROADCAST, and not IFF_UP
	})
}

func plug(_ context.Context, d *device) error { return d.b.wire.free() }

// heat has the processor throttle by so many fifths of what it can.
func (d *device) heat(fifths int) error {
	l := d.limit
	l.cores *= 1 - 0.12*float64(fifths)
	d.v.hot(fifths, l.cores)
	return d.g.limit(l)
}

// chosen are the faults of the catalogue that a run is about.
func chosen(only []string) ([]fault, error) {
	if len(only) == 0 {
		return catalogue, nil
	}
	var list []fault
	for _, name := range only {
		found := false
		for _, f := range catalogue {
			if f.name == name {
				list, found = append(list, f), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no fault %q", name)
		}
	}
	return list, nil
}
