package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/actuators"
	"holdfast/agent"
	"holdfast/agent/warden"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
	"holdfast/update"
)

const updateUsage = `holdfast update: move this board to another release, without a server

Usage:
  holdfast update install DIR --release NAME/VERSION   from a directory, such as a USB stick
  holdfast update status | pause | resume | cancel

Flags:
`

// updateCommand speaks to the warden as root may, and brings it files from a directory itself.
func updateCommand(ctx context.Context, args []string, std streams) error {
	f := flags("update", "move this board to another release, without a server", "holdfast update install /media/usb --release pump/2", std)
	f.Usage = func() { fmt.Fprint(std.out, updateUsage); f.SetOutput(std.out); f.PrintDefaults() }
	var o overrides
	o.flags(f)
	release := f.String("release", "", "the `release`, as name/version")
	kind := f.String("kind", "system", "what is updated: `kind` system, agent or content")
	asJSON := f.Bool("json", false, "print one JSON object a line")
	var words []string
	for { // flags may come before and after the words
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return hinted{err, "holdfast update --help lists the flags", exitUsage}
		}
		if f.NArg() == 0 {
			break
		}
		words, args = append(words, f.Arg(0)), f.Args()[1:]
	}
	c, err := o.load()
	if err != nil {
		return err
	}
	if err := updatable(c); err != nil {
		return err
	}
	say := teller{std.out, *asJSON, terminal(std.out)}
	log := slog.New(slog.DiscardHandler)
	if !*asJSON {
		log = logger(std.err, new(slog.LevelVar))
	}
	u := wire.Updater(c, log)
	switch {
	case len(words) == 2 && words[0] == "install":
		return install(ctx, u, words[1], *kind, *release, say)
	case len(words) == 1 && words[0] == "status":
		s, err := u.Status(ctx, *kind)
		if err != nil {
			return unasked(err)
		}
		return say.status(s)
	case len(words) == 1 && (words[0] == "pause" || words[0] == "resume" || words[0] == "cancel"):
		if _, err := u.Ask(ctx, "update."+words[0], actuators.Args{"kind": *kind}); err != nil {
			return unasked(err)
		}
		s, err := u.Status(ctx, *kind)
		if err != nil {
			return unasked(err)
		}
		return say.status(s)
	}
	return hinted{errors.New("wants install DIR, status, pause, resume or cancel"), "holdfast update --help", exitUsage}
}

// updatable says what is missing where no update was ever set up: the warden would answer that it has no such verb.
func updatable(c config.Config) error {
	if len(wire.Kinds(c)) > 0 {
		return nil
	}
	return hinted{errors.New("nothing is updated on this board"), "set bootloader, and where the slots are, below [update] in the configuration; or --config FILE names another", exitUsage}
}

// unasked explains why the warden did not answer.
func unasked(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, warden.ErrStranger):
		return hinted{err, "run it as root", exitFailed}
	case errors.Is(err, warden.ErrUnreachable), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return hinted{err, "systemctl status holdfast-warden.socket, or holdfast run --single where there is no systemd", exitTimeout}
	}
	return err
}

func install(ctx context.Context, u *agent.Updater, dir, kind, release string, say teller) error {
	if release == "" {
		return hinted{errors.New("no release is named"), "--release NAME/VERSION; the targets directory of the repository lists them", exitUsage}
	}
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(path, "metadata")); err != nil {
		return hinted{err, dir + " is no repository: it has no directory metadata", exitUsage}
	}
	job := &agent.UpdateJob{ID: "local-" + time.Now().UTC().Format("20060102T150405.000"), Kind: kind, Release: release, Repository: path}
	if _, err := u.Begin(ctx, job); err != nil {
		return unasked(err)
	}
	for {
		wait, over, err := drive(ctx, u, job, say)
		switch {
		case errors.Is(err, errRestarting):
			if err := afterRestart(ctx, u, kind); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if over {
			break
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	s, err := u.Status(ctx, kind)
	if err != nil {
		return unasked(err)
	}
	if err := say.status(s); err != nil {
		return err
	}
	if s.Phase != "committed" {
		return verdict(exitFailed)
	}
	return nil
}

var errRestarting = errors.New("the board restarts")

// drive goes on with a job until it is over, has to wait, or restarts the board.
func drive(ctx context.Context, u *agent.Updater, job *agent.UpdateJob, say teller) (time.Duration, bool, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	u.Tell = func(_ context.Context, s agent.UpdateStatus) {
		say.progress(s)
		if s.Phase == "updating" && !s.Trial {
			stop(errRestarting)
		}
	}
	return u.Drive(ctx, job)
}

// afterRestart waits until the board is back and the agent has seen to the rest. A restart that does not come within a
// minute is to be asked for again. Where the machine is a model this process outlives it.
func afterRestart(ctx context.Context, u *agent.Updater, kind string) error {
	for range 60 {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		if s, err := u.Status(ctx, kind); err == nil && s.Over() {
			return nil
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("left to go on by itself: %w", context.Cause(ctx))
	}
}

// A teller says how an update stands.
type teller struct {
	w        io.Writer
	json     bool
	terminal bool
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (t teller) progress(s agent.UpdateStatus) {
	switch {
	case t.json:
		_ = json.NewEncoder(t.w).Encode(s)
	case t.terminal:
		left := ""
		if s.ETASeconds > 0 {
			left = ", " + span(float64(s.ETASeconds)) + " left"
		}
		fmt.Fprintf(t.w, "\r\x1b[K%s: %s %.0f %%%s  %s", s.Release, s.Phase, s.Percent, left, s.Waiting)
	}
}

func (t teller) status(s agent.UpdateStatus) error {
	if t.json {
		return json.NewEncoder(t.w).Encode(s)
	}
	if t.terminal {
		fmt.Fprint(t.w, "\r\x1b[K")
	}
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(t.w, "%-9s %s\n", name, text)
		}
	}
	line("runs", s.Running)
	line("job", s.ID)
	line("release", s.Release)
	phase := s.Phase
	if s.Total > 0 {
		phase += fmt.Sprintf(", %.1f %%, %s of %s", s.Percent, size(s.Bytes), size(s.Total))
	}
	if s.Paused {
		phase += ", paused"
	}
	line("phase", phase)
	line("waiting", s.Waiting)
	if s.Trials > 0 {
		line("trials", fmt.Sprint(s.Trials))
	}
	line("reason", s.Reason)
	line("error", s.Error)
	return nil
}

// An outcome is how one update ended, and what it moved.
type outcome struct {
	Kind string `json:"kind"`
	update.Outcome
}

// printHistory asks the warden how the last updates of some kinds ended.
func printHistory(ctx context.Context, u *agent.Updater, kinds []string, w io.Writer, asJSON bool) error {
	past := []outcome{}
	for _, kind := range kinds {
		result, err := u.Ask(ctx, "update.history", actuators.Args{"kind": kind})
		if err != nil {
			return unasked(err)
		}
		raw, err := json.Marshal(result["history"])
		if err != nil {
			return err
		}
		var some []outcome
		if err := json.Unmarshal(raw, &some); err != nil {
			return err
		}
		for i := range some {
			some[i].Kind = kind
		}
		past = append(past, some...)
	}
	slices.SortStableFunc(past, func(a, b outcome) int { return a.Ended.Compare(b.Ended) })
	if asJSON {
		return json.NewEncoder(w).Encode(past)
	}
	if len(past) == 0 {
		_, err := fmt.Fprintln(w, "no update has ended on this board")
		return err
	}
	fmt.Fprintf(w, "%-20s %-10s %-24s %-12s %s\n", "ended", "took", "release", "result", "why")
	for _, p := range past {
		fmt.Fprintf(w, "%-20s %-10s %-24s %-12s %s\n", p.Ended.UTC().Format("2006-01-02T15:04:05Z"), span(p.Ended.Sub(p.Began).Seconds()), p.Release, p.Result, p.Error)
	}
	return nil
}
