package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"holdfast/actuators"
	"holdfast/agent/warden"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// hostile are scripts that do their worst until they are ended.
var hostile = map[string]string{
	"floods":   "trap '' TERM\nyes holdfast-bench-9871",
	"forks":    "trap '' TERM\nwhile :; do setsid bash -c 'trap \"\" TERM; sleep 9871 & sleep 9871' & done 2>/dev/null",
	"hangs":    "trap '' TERM\nsetsid sleep 9871 &\nwhile :; do sleep 9871; done",
	"detaches": "trap '' TERM\nsetsid bash -c 'trap \"\" TERM HUP; while :; do :; done' & disown\nwhile :; do :; done",
	"eats":     "trap '' TERM\nwhile :; do head -c 1G /dev/zero | tail -c 1G; done",
}

const (
	scriptLimit = 3 * time.Second
	turnEvery   = 5 * time.Millisecond
)

// scripts measures the core loop's turns, from outside, while the warden runs hostile scripts beside it.
func scripts(w *workshop, _ options, t *table) error {
	dir := w.path("scripts")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, text := range hostile {
		declared := fmt.Sprintf("timeout = %q\n", scriptLimit)
		for file, text := range map[string]string{name: "#!/bin/bash\n" + text + "\n", name + ".toml": declared} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o755); err != nil {
				return err
			}
		}
	}
	c, err := config.Parse("bench.toml", fmt.Appendf(nil, "id = \"bench\"\nstate_dir = %q\nrun_dir = %q\n[broker]\nurls = [\"mqtt://127.0.0.1:1\"]\n[scripts]\ndir = %q\n"+
		"[limits]\nrepairs_per_hour = 1000\nrepairs_per_day = 1000\n", w.path("scripts-state"), w.path("scripts-run"), dir))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(w.ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	log := slog.New(slog.DiscardHandler)
	power, err := wire.NewWarden(wire.WardenOptions{Config: c, Version: "bench", Log: log, Starts: true})
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	agent, err := wire.Run(wire.Options{Config: c, Version: "bench", Log: log, Level: new(slog.LevelVar), Started: time.Now(), Ready: func() { close(ready) }})
	if err != nil {
		return err
	}
	running.Go(func() { _ = power.Run(ctx) })
	running.Go(func() { _ = agent.Run(ctx) })
	<-ready
	quiet, err := turns(ctx, agent.Turn, func() error { return w.sleep(3 * time.Second) })
	if err != nil {
		return err
	}
	client := &warden.Client{Dial: warden.Unix(wire.Socket(c))}
	worst := 0.0
	loud, err := turns(ctx, agent.Turn, func() error {
		for name := range hostile {
			began := time.Now()
			_, err := client.Do(ctx, "script", actuators.Args{"name": name}, "bench")
			if err == nil || !strings.Contains(err.Error(), "time limit") {
				return fmt.Errorf("script %s: %w", name, err)
			}
			worst = max(worst, time.Since(began).Seconds()-scriptLimit.Seconds())
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.atMost("script_over_seconds", "hostile scripts, seconds beyond their limit until ended, the longest", round(worst, 2), 5)
	t.atMost("script_left", "their processes that are left", float64(left(dir)), 0)
	t.atLeast("turns", "turns of the core loop meanwhile", float64(len(loud)), 1000)
	t.beside("turn of the core loop, 99 %, with nothing beside it, ms", fmt.Sprint(percentile(quiet, 0.99)))
	t.atMost("turn_p99_ms", "turn of the core loop, 99 %, beside hostile scripts, ms", percentile(loud, 0.99), 100)
	t.note("scripts: %d scripts that flood, fork, hang, detach and eat memory, ignore TERM, and have a limit of %v; agent and warden in one process; "+
		"a turn every %v; load %s", len(hostile), scriptLimit, turnEvery, load())
	return nil
}

// turns measures how long a turn takes, in ms, over and over while do does its work.
func turns(ctx context.Context, turn func(context.Context) error, do func() error) ([]float64, error) {
	over := make(chan error, 1)
	go func() { over <- do() }()
	var took []float64
	for tick := time.NewTicker(turnEvery); ; <-tick.C {
		select {
		case err := <-over:
			return took, err
		default:
		}
		began := time.Now()
		if err := turn(ctx); err != nil {
			return nil, err
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
	}
}

func percentile(list []float64, share float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return round(list[int(share*float64(len(list)-1))], 2)
}

// left counts processes that come from the scripts in dir.
func left(dir string) (n int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		text, _ := os.ReadFile(name)
		if strings.Contains(string(text), dir) || strings.Contains(string(text), "9871") {
			n++
		}
	}
	return n
}
