//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// designs are the devices. They differ in what a model must not go by. The third is there for recordings: it has little room in its
// memory and on its first disk when all is well.
var designs = []design{
	{id: "bench-a", limit: limit{memoryBytes: 192 << 20, cores: 0.6, tasks: 512, diskOps: 400}, rootMiB: 512, dataMiB: 64, noise: 0.12,
		weather: weather{delay: 4 * time.Millisecond, jitter: 2 * time.Millisecond, bitsPerSec: 20e6, queueBytes: 96 << 10},
		load:    load{Memory: 16, Upload: 600, Download: 1500, Write: 2048, Pause: 6}},
	{id: "bench-b", limit: limit{memoryBytes: 320 << 20, cores: 0.9, tasks: 512, diskOps: 800}, rootMiB: 768, dataMiB: 160, noise: 0.05,
		weather: weather{delay: 12 * time.Millisecond, jitter: 6 * time.Millisecond, bitsPerSec: 50e6, queueBytes: 192 << 10},
		load:    load{Memory: 28, Upload: 1500, Download: 3000, Write: 6144, Pause: 9}},
	{id: "bench-c", limit: limit{memoryBytes: 256 << 20, cores: 0.7, tasks: 512, diskOps: 600}, rootMiB: 296, dataMiB: 96, noise: 0.08,
		weather: weather{delay: 25 * time.Millisecond, jitter: 10 * time.Millisecond, bitsPerSec: 8e6, queueBytes: 64 << 10},
		load:    load{Memory: 80, Upload: 300, Download: 800, Write: 1024, Pause: 5}},
}

// inside has one device on the bench, in namespaces of its own.
func inside(ctx context.Context, o options) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts of its own: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	m := designs[slices.IndexFunc(designs, func(m design) bool { return m.id == o.device })]
	life, end := context.WithCancel(ctx)
	defer end()
	b := &bench{id: m.id, model: o.model, dir: filepath.Join(o.dir, m.id), bin: bin, deb: o.deb, base: o.base, seed: o.seed, life: life}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	defer b.close()
	if err := b.set(ctx, m.weather); err != nil {
		return err
	}
	g, err := newGroup(m.id)
	if err != nil {
		return err
	}
	m.load.Seed = b.rnd("app").Uint64()
	d := &device{design: m, b: b, g: g}
	b.later(d.off)
	if o.record == "" {
		names := []string{}
		for _, f := range catalogue {
			names = append(names, strconv.Quote(f.name))
		}
		b.toml = fmt.Sprintf(armed, modelPath, strings.Join(names, ", "))
	}
	if err := d.build(ctx); err != nil {
		return err
	}
	if err := d.on(ctx); err != nil {
		return err
	}
	if err := b.within(ctx, 30*time.Second, func() error {
		out, err := d.run(ctx, "holdfast", "status")
		if err == nil && !strings.Contains(out, "link      up") {
			err = errors.New(out)
		}
		return err
	}); err != nil {
		return fmt.Errorf("the agent of %s is not in order: %w\n%s", d.id, err, d.words("holdfast.service", appUnit, "systemd-networkd.service"))
	}
	t := &trial{b: b, d: d, o: o}
	err = t.run(ctx)
	if err == nil || t.done != nil {
		err = errors.Join(err, t.save(filepath.Join(o.dir, m.id+".json")))
	}
	return err
}
