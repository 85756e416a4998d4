//go:build linux

// Command storm cuts the power of boards at random moments of updates. A board is an arm64 machine in QEMU with Debian's
// U-Boot and kernel, a tiny initramfs with the real program in it, and disks that lose what was not flushed: some of it,
// in any order, and torn. After each cut the board starts again, by what its bootloader finds in its environment.
//
//	storm [-n 50] [-seed s] [-j 2] [-sectors]     cut the power n times
//	storm -mutant no-sync                         the same with a mistake in the program, until it is noticed
//
// A brick is a board that does not come to the end of its job when it is left alone twice; a wrong image is a slot that is
// started and is no release, or another than was committed. The last line is for machines. Exit code 0: as promised, 1: not,
// 77: this machine cannot run it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"holdfast/cmd/internal/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := storm(ctx, os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case errors.Is(err, lab.ErrNotHere):
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(lab.NotHere)
	case err != nil:
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	}
}

// tools are what is wanted of this machine.
var tools = []lab.Tool{{File: "qemu-system-aarch64", Package: "qemu-system-arm"}, {File: lab.UBoot, Package: "u-boot-qemu"},
	{File: "mkfs.ext4", Package: "e2fsprogs"}, {File: "cpio", Package: "cpio"}, {File: "dpkg-deb", Package: "dpkg"},
	{File: "apt-get", Package: "apt"}}

type options struct {
	n, boards   int
	seed        uint64
	dir, mutant string
	sectors     bool
}

func storm(ctx context.Context, args []string) error {
	var o options
	f := flag.NewFlagSet("storm", flag.ContinueOnError)
	f.IntVar(&o.n, "n", 50, "cuts")
	f.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the moments and the damage")
	f.IntVar(&o.boards, "j", 2, "boards at a time")
	f.StringVar(&o.dir, "dir", "bin/storm", "where the boards and Debian's packages lie")
	f.StringVar(&o.mutant, "mutant", "", "a mistake to build in: no-sync, told-early")
	f.BoolVar(&o.sectors, "sectors", false, "also tear within a sector, which disks promise not to do")
	if err := f.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if f.NArg() > 0 || o.n < 1 || o.boards < 1 {
		return errors.New("wants at least one cut and one board")
	}
	if err := lab.Need(tools); err != nil {
		return err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := debian(ctx, filepath.Join(dir, "debian"))
	if err != nil {
		return err
	}
	program := filepath.Join(dir, "holdfast")
	if err := build(ctx, program, o.mutant); err != nil {
		return err
	}
	w, err := newWorld(ctx, dir)
	if err != nil {
		return err
	}
	g, err := newGuest(ctx, dir, root, program, o.mutant, w.anchor)
	if err != nil {
		return err
	}
	fmt.Printf("seed %d, %d boards, %s\n", o.seed, min(o.boards, o.n), filepath.Base(g.kernel))
	if err := tryBootloader(ctx, dir, w, g, o.seed); err != nil {
		return err
	}
	fmt.Printf("U-Boot's script chooses as board/loaders says, in %d environments\n", mostStates)
	return o.run(ctx, dir, w, g)
}

// run has all boards out in the storm, and tells what came of it.
func (o options) run(ctx context.Context, dir string, w *world, g *guest) error {
	began := time.Now()
	boards := min(o.boards, o.n)
	all := &score{n: o.n, began: began, stopAtFirst: o.mutant != "", out: os.Stderr}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	all.stop = stop
	var lanes sync.WaitGroup
	errs := make([]error, boards)
	for i := range boards {
		n := o.n / boards
		if i < o.n%boards {
			n++
		}
		l := &lane{rnd: rand.New(rand.NewPCG(o.seed, uint64(i))), torn: o.sectors}
		lanes.Go(func() { errs[i] = l.run(ctx, filepath.Join(dir, fmt.Sprintf("board%d", i)), w, g, n, all) })
	}
	lanes.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	all.print(os.Stdout)
	t := all.t
	minutes := time.Since(began).Minutes()
	if o.mutant != "" {
		fmt.Printf("storm: mutant %s, %d cuts, seed %d, %d bricks, %d wrong images\n", o.mutant, t.cuts, o.seed, t.bricks, t.wrong)
		if t.bricks+t.wrong == 0 {
			return fmt.Errorf("mutant %s was not noticed", o.mutant)
		}
		return nil
	}
	fmt.Printf("storm: %d cuts, seed %d, %d bricks, %d wrong images, %d of %d updates committed, %d starts, %.1f minutes\n",
		t.cuts, o.seed, t.bricks, t.wrong, t.committed, t.jobs, t.starts, minutes)
	if t.bricks+t.wrong > 0 || 100*t.committed < 99*t.jobs || t.cuts < o.n {
		return errors.New("that is not as it should be")
	}
	return nil
}

// mostLost is how many boards a lane may lose. What is wrong is then known.
const mostLost = 3

// run cuts one board's power n times. A board that was lost is kept aside for whoever wants to look, and another takes
// its place.
func (l *lane) run(ctx context.Context, dir string, w *world, g *guest, n int, all *score) error {
	for board := 0; l.cuts < n && board < mostLost && ctx.Err() == nil; board++ {
		var err error
		if err = os.RemoveAll(dir); err == nil {
			l.d, err = newDevice(ctx, dir, w, g, l.rnd.Uint64())
		}
		if err != nil {
			return err
		}
		l.runs = releases[0]
		for l.cuts < n && err == nil {
			cuts := 0
			if l.deeds != nil {
				cuts = min(1+l.rnd.IntN(3), n-l.cuts)
			}
			err = l.job(ctx, cuts)
			all.add(l)
		}
		lost := errors.Is(err, errBrick) || errors.Is(err, errWrong)
		if lost {
			l.t.jobs++
			if errors.Is(err, errBrick) {
				l.t.bricks++
			} else {
				l.t.wrong++
			}
			all.add(l)
			aside := fmt.Sprintf("%s.lost%d", dir, board)
			fmt.Fprintf(os.Stderr, "\n%v; the board is kept in %s\n", err, aside)
			l.d.supply.Off()
			l.d.close()
			_ = os.RemoveAll(aside)
			if err := os.Rename(dir, aside); err != nil {
				return err
			}
			continue
		}
		l.d.close()
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// A score is what all boards have seen together.
type score struct {
	n           int
	began       time.Time
	stopAtFirst bool
	stop        func()
	out         io.Writer

	mu sync.Mutex
	t  tally
}

// add takes over what a lane has seen.
func (s *score) add(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.add(l.t)
	l.t = tally{}
	fmt.Fprintf(s.out, "\r%d of %d cuts, %d of %d updates committed, %d bricks, %d wrong images, %.0f s ", s.t.cuts, s.n, s.t.committed, s.t.jobs, s.t.bricks,
		s.t.wrong, time.Since(s.began).Seconds())
	if s.stopAtFirst && s.t.bricks+s.t.wrong > 0 {
		s.stop()
	}
}

// print shows where the cuts fell.
func (s *score) print(w io.Writer) {
	fmt.Fprintln(s.out)
	fmt.Fprintf(w, "%-12s %s\n", "stage", "cuts")
	for _, name := range stages {
		fmt.Fprintf(w, "%-12s %d\n", name, s.t.where[name])
	}
	var in []string
	for _, name := range disks {
		in = append(in, fmt.Sprintf("%d of %s", s.t.deed[name], name))
	}
	fmt.Fprintf(w, "in the middle of a request: %s\n", strings.Join(in, ", "))
	fmt.Fprintf(w, "%d sectors were not flushed: %d kept, %d left as something older; %d starts with one copy of the environment damaged\n",
		s.t.held, s.t.kept, s.t.torn, s.t.half)
}
