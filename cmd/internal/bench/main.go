// Command bench measures what holdfast promises, and prints each figure beside what it is compared with. It fails when a
// promise is not kept. `make bench` builds what it measures and runs it, as root on Linux with mosquitto, collectd-core
// and prometheus-node-exporter of Debian.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	agent, ctl, armv7 string // programs
	epl               string // the benchmarks of remediate/epl
	forest            string // the benchmarks of remediate/forest/foreign
	only              string
	idle              time.Duration
	brokerKills       int
	agentKills        int
	seed              uint64
	keep              bool
}

func main() {
	var o options
	flag.StringVar(&o.agent, "holdfast", "bin/holdfast", "`program` to measure, built for this machine")
	flag.StringVar(&o.ctl, "holdfastctl", "bin/holdfastctl", "`program` that makes the certificates")
	flag.StringVar(&o.armv7, "armv7", "dist/linux-armv7/holdfast", "`program` whose size is measured")
	flag.StringVar(&o.epl, "epl", "bin/epl.test", "`program` that go test -c makes of remediate/epl")
	flag.StringVar(&o.forest, "forest", "bin/forest.test", "`program` that go test -c makes of remediate/forest/foreign")
	flag.StringVar(&o.only, "only", "size,rules,diagnosis,scripts,idle,kills", "which `parts` to run")
	flag.DurationVar(&o.idle, "idle", 10*time.Minute, "how long to idle")
	flag.IntVar(&o.brokerKills, "broker-kills", 1000, "how often the broker is killed")
	flag.IntVar(&o.agentKills, "agent-kills", 100, "how often the agent is killed")
	flag.Uint64Var(&o.seed, "seed", 0, "of the random moments; 0: another each time")
	flag.BoolVar(&o.keep, "keep", false, "keep the working directory")
	flag.Parse()
	if o.seed == 0 {
		o.seed = rand.Uint64()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	w, err := newWorkshop(ctx, o.keep)
	if err != nil {
		return err
	}
	defer w.close()
	fmt.Printf("%s\nseed %d, load %s\n", machine(), o.seed, load())
	o.forest, err = filepath.Abs(o.forest)
	if err != nil {
		return err
	}
	var t table
	for _, part := range []struct {
		name string
		run  func(*workshop, options, *table) error
	}{{"size", size}, {"rules", rules}, {"diagnosis", diagnosis}, {"scripts", scripts}, {"idle", idle}, {"kills", kills}} {
		if !strings.Contains(","+o.only+",", ","+part.name+",") {
			continue
		}
		if err := part.run(w, o, &t); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return t.print(os.Stdout)
}

// budgetBytes is what the program for armv7 may take of a board's flash.
const budgetBytes = 12_000_000

func size(_ *workshop, o options, t *table) error {
	info, err := os.Stat(o.armv7)
	if err != nil {
		return err
	}
	t.atMost("armv7_bytes", "program for armv7, bytes", float64(info.Size()), budgetBytes)
	t.reference("program, telegraf built for the same work", "23 MB")
	return nil
}
