package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"holdfast/actuators/unit"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
	"holdfast/update"
	"holdfast/update/trust"
)

// agentUnit is the service that runs the agent.
const agentUnit = "holdfast.service"

// Bounds of what is updated beside the system, in bytes.
const (
	agentBytes   = 64 << 20
	contentBytes = 64 << 20
)

// linksDir is where the agent's program or its content is updated, "" where it is not.
func linksDir(c config.Config, kind string) string {
	if kind == "content" {
		return c.Update.Content
	}
	return c.Update.Agent
}

// links are what stands for slots and bootloader of the agent's program and of its content: the start of the agent is
// their start.
func links(dir, kind string, log *slog.Logger) (*linux.Links, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) { // the agent's user is to read it, whatever the umask
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			return nil, err
		}
	}
	files, err := linux.SharedFiles(dir) // the warden has them, and whoever launches the agent
	if err != nil {
		return nil, err
	}
	o := linux.LinksOptions{Dir: dir, Files: files, Document: "links", Bytes: agentBytes, Mode: 0o755, Log: log}
	if kind == "content" {
		o.Bytes, o.Mode = contentBytes, 0o644
	}
	return linux.NewLinks(o)
}

// linked completes the options of an engine that moves the agent's program or its content.
func (w *Warden) linked(o *update.Options, c config.Config, wo WardenOptions) error {
	dir := linksDir(c, o.Kind)
	l, err := links(dir, o.Kind, w.log)
	if err != nil {
		return err
	}
	if _, err := l.Facts(); err != nil { // nothing has ever been started from there: what runs is the package's own
		if _, err := l.Start(); err != nil {
			return err
		}
	}
	if o.Kind == "content" {
		o.Trials = 2
	}
	o.Slots, o.Boot, o.Whole, o.Arch = l, launches{l, dir}, true, arch()
	o.Window = update.Window{} // the machine is not restarted
	o.Uptime = func() (string, time.Duration) { return sinceLaunch(dir, c.Root) }
	if health := o.Scripts; o.Kind == "agent" { // where the package's program runs after all, it says nothing about the other
		o.Scripts = func(ctx context.Context) error {
			f, err := l.Facts()
			if err != nil {
				return err
			}
			if held, err := l.Held(f.Booted); err != nil || !held {
				return errors.Join(fmt.Errorf("the program of slot %s is not what runs", f.Booted), err)
			}
			return health(ctx)
		}
	}
	o.Restart = func(ctx context.Context, _ bool) error {
		if wo.Again != nil {
			return wo.Again(ctx)
		}
		ctx, stop := context.WithTimeout(ctx, time.Minute)
		defer stop()
		result, _, err := unit.Systemd{}.Restart(ctx, agentUnit)
		if err == nil && result != "done" {
			err = fmt.Errorf("restart %s: %s", agentUnit, result)
		}
		return err
	}
	return nil
}

// launched is the file that says which start of the agent this is. It need not survive a power cut: that starts it anew.
const launched = "launched"

// Launch is the start of the agent as its slots see it: it spends a trial or goes back, and points the links. It is called
// before each start of the agent, by somebody who may write there.
func Launch(c config.Config, version string, log *slog.Logger) (err error) {
	for _, kind := range []string{"agent", "content"} {
		if dir := linksDir(c, kind); dir != "" {
			if e := launchOne(dir, kind, c.Root, version, log); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", kind, e)) // the other starts all the same
			}
		}
	}
	return err
}

func launchOne(dir, kind, root, version string, log *slog.Logger) error {
	l, err := links(dir, kind, log)
	if err != nil {
		return err
	}
	id, err := l.Start()
	if err != nil {
		return err
	}
	if kind == "agent" {
		if id, err = fit(l, id, version, log); err != nil {
			return err
		}
	}
	log.Debug("launched", "kind", kind, "slot", id)
	now := launch{name: time.Now().UnixNano()}
	now.boot, now.up = bootClock(root)
	if before, ok := lastLaunch(dir); ok {
		now.before = before.boot
	}
	return os.WriteFile(filepath.Join(dir, launched), []byte(now.String()+"\n"), 0o644)
}

// fit looks whether the program in a slot can be run at all: one on trial that does not say its version is left at once.
// Where the package brought a newer one since, that is run.
func fit(l *linux.Links, id board.SlotID, version string, log *slog.Logger) (board.SlotID, error) {
	theirs, err := versionOf(l.Path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return id, nil
	}
	if good, e := l.Good(); err != nil && e == nil && good != id {
		log.Error("the program on trial cannot be run", "slot", id, "err", err)
		if id, err = l.Start(); err != nil {
			return id, err
		}
		theirs, err = versionOf(l.Path(id))
	}
	ours, e := trust.ParseVersion(version)
	their, e2 := trust.ParseVersion(theirs)
	newer := e == nil && e2 == nil && ours.Compare(their) > 0
	if err != nil && !errors.Is(err, fs.ErrNotExist) || newer {
		log.Warn("the package's program is run", "slot", id, "version", theirs, "err", err)
		return id, l.Unlink()
	}
	return id, nil
}

// versionOf asks a program for its version.
func versionOf(path string) (string, error) {
	if err := owned(path); err != nil {
		return "", err
	}
	ctx, stop := context.WithTimeout(context.Background(), 15*time.Second)
	defer stop()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env, cmd.WaitDelay = []string{}, time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", path, err)
	}
	words := strings.Fields(string(out[:min(len(out), 200)]))
	if len(words) < 2 {
		return "", fmt.Errorf("%s version: it says %.80q", path, out)
	}
	return words[1], nil
}

// owned reports why a program is not to be run with power: others could have written it.
func owned(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 || stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s: not a program that root alone can write", path)
	}
	return nil
}

// arch is what programs this machine runs, as releases name it: GOARCH, and armv6 or armv7.
func arch() string {
	if info, ok := debug.ReadBuildInfo(); ok && runtime.GOARCH == "arm" {
		for _, s := range info.Settings {
			if s.Key == "GOARM" {
				return "armv" + s.Value[:1]
			}
		}
	}
	return runtime.GOARCH
}

// A launch is one start of the agent.
type launch struct {
	boot   string        // of the machine, as the kernel calls it
	up     time.Duration // of the machine
	name   int64         // tells it from the others
	before string        // boot in which the start before this one was, "" when there was none
}

func (l launch) String() string {
	return fmt.Sprint(l.boot, " ", int64(l.up), " ", l.name, " ", l.before)
}

// lastLaunch is what is known of the newest.
func lastLaunch(dir string) (l launch, ok bool) {
	raw, err := os.ReadFile(filepath.Join(dir, launched))
	if err != nil || len(raw) > 512 {
		return l, false
	}
	n, _ := fmt.Sscan(string(raw), &l.boot, (*int64)(&l.up), &l.name, &l.before)
	return l, n >= 3
}

// launches are links whose trials end with the power as well: that is not the program's fault.
type launches struct {
	*linux.Links
	dir string
}

// Facts implements board.Boot.
func (l launches) Facts() (board.BootFacts, error) {
	f, err := l.Links.Facts()
	if last, ok := lastLaunch(l.dir); ok && last.before != "" && last.before != last.boot {
		f.Reset = board.ResetPower
	}
	return f, err
}

// sinceLaunch tells the starts of the agent apart, and how long ago this one was.
func sinceLaunch(dir, root string) (string, time.Duration) {
	boot, up := bootClock(root)
	last, ok := lastLaunch(dir)
	if !ok || last.boot != boot {
		return boot, up
	}
	return last.String(), up - last.up
}

// bootClock returns the kernel's name for this boot and how long ago it was.
func bootClock(root string) (string, time.Duration) {
	if uptime := warden.Uptime(root); uptime != nil {
		return uptime()
	}
	return "unknown", 0
}

// Program returns the agent's program to run in place of this one, "" for this one, and the slot it is in. run wants what
// is on trial, too; the warden, which judges it, only what is trusted.
func Program(c config.Config, trial bool, log *slog.Logger) (path, slot string, err error) {
	if c.Update.Agent == "" {
		return "", "", nil
	}
	path = filepath.Join(c.Update.Agent, "current")
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if !trial {
		l, err := links(c.Update.Agent, "agent", log)
		if err != nil {
			return "", "", err
		}
		id, err := l.Good()
		if err != nil {
			return "", "", err
		}
		path = l.Path(id)
	}
	if path, err = filepath.EvalSymlinks(path); errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	} else if err != nil {
		return "", "", err
	}
	if err := owned(path); err != nil {
		return "", "", err
	}
	return path, filepath.Base(path), nil
}
