package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// The collector's settings for a small heap: what the agent holds is about 2 MB, so collecting twice as often as Go's
// default costs a few milliseconds an hour and saves as much memory again.
const (
	gcPercent   = 50
	memoryLimit = 12 << 20        // a soft limit: beyond it the collector works harder
	wardenLimit = 8 << 20         // likewise
	settled     = 3 * time.Second // what only a start takes has been done: the first connection, the first samples
)

// overrides are the flags that stand in for keys of the file, for trying things out.
type overrides struct {
	path    string
	brokers string
	id      string
	state   string
	level   string
}

func (o *overrides) flags(f interface {
	StringVar(p *string, name, value, usage string)
}) {
	f.StringVar(&o.path, "config", "", "configuration `file` (default "+config.DefaultPath+" if it is there)")
	f.StringVar(&o.brokers, "broker", "", "broker `URL`s, in place of broker.urls; several are separated by commas")
	f.StringVar(&o.id, "id", "", "device `id`, in place of id")
	f.StringVar(&o.state, "state", "", "`directory` for state and sockets, in place of state_dir and run_dir")
	f.StringVar(&o.level, "log", "", "log `level`, in place of log.level")
}

// load reads the configuration with the overrides.
func (o *overrides) load() (config.Config, error) {
	path := o.path
	if path == "" {
		path = config.DefaultPath
	}
	c, err := config.Load(path)
	if errors.Is(err, fs.ErrNotExist) && o.path == "" {
		c, err = config.Default(), nil
	}
	if err != nil {
		var bad *config.Error
		if errors.As(err, &bad) {
			return c, err
		}
		return c, unread(err)
	}
	if o.brokers != "" {
		c.Broker.URLs = strings.Split(o.brokers, ",")
	}
	if o.id != "" {
		c.ID = o.id
	}
	if o.state != "" {
		c.StateDir, c.RunDir = o.state, o.state
	}
	if o.level != "" {
		c.Log.Level = o.level
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	return wire.WithBoard(c)
}

// unnamed says how to name a broker in the file at path, "" for the usual one.
func unnamed(path string) string {
	next := ", or try --broker mqtt://127.0.0.1:1883"
	if path == "" {
		path, next = config.DefaultPath, ", then: systemctl restart holdfast"
	}
	return `set urls = ["mqtts://broker.example.com:8883"] below [broker] in ` + path + next
}

// unread says what to do about a file that could not be read. What only the disk is to blame for is not wrong usage: the
// unit does not start again after that (RestartPreventExitStatus), and a disk may recover.
func unread(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hinted{err, "--config FILE names another", exitUsage}
	case errors.Is(err, fs.ErrPermission):
		return hinted{err, "root and members of the group holdfast may read it", exitUsage}
	}
	return err
}

// slim gives back what only the start needed of the program, and from then on every minute what only some rare deed did.
// What is used more often comes back without input. It ends with ctx.
func slim(ctx context.Context, log *slog.Logger, wait time.Duration) {
	for ; board.Wait(ctx, &linux.Clock{}, wait); wait = time.Minute {
		if err := linux.Unmap(); err != nil {
			log.Debug("the program stays mapped whole", "err", err)
			return
		}
	}
}

func runCommand(ctx context.Context, args []string, std streams) error {
	started := time.Now()
	f := flags("run", "measure, keep the shadow, obey commands", "holdfast run --single --broker mqtt://127.0.0.1:1883 --id bench --state /tmp/bench", std)
	var o overrides
	o.flags(f)
	single := f.Bool("single", false, "do the warden's work in this process too, for systems without systemd")
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := o.load()
	if err != nil {
		return err
	}
	if len(c.Broker.URLs) == 0 {
		return hinted{errors.New("no broker is named"), unnamed(o.path), exitUsage}
	}
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
	// Little work, all due at the same moment: waking other processors for parts of it costs a fifth more time than
	// doing it in turn. A system call that blocks does not hold up the rest.
	runtime.GOMAXPROCS(1)
	level := new(slog.LevelVar)
	log := logger(std.err, level)
	if err := wire.Become(c, version, true, *single, log); err != nil {
		log.Error("the program that was brought by an update is not run", "err", err)
	}
	if held, err := wire.HoldProgram(); err != nil {
		log.Error("this program cannot pass its trial", "err", err)
	} else if held != nil {
		defer held.Close()
	}
	ctx, phoenix := wire.Rebirth(ctx)
	wo := wire.Options{Config: c, Version: version, Built: built(), Log: log, Level: level, Single: *single, Started: started,
		Progress: watchdog(log), Ready: func() { notify(log, daemon.SdNotifyReady) }}
	if *single {
		wo.Again = phoenix.Reboot
		if c.Update.Bootloader == "model" && len(c.Power.Reboot) == 0 {
			wo.Power = phoenix
		}
	}
	a, err := wire.Run(wo)
	if errors.Is(err, wire.ErrClaimed) {
		return hinted{err, "holdfast status shows it; a second agent needs an id and a --state of its own", exitFailed}
	}
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1) // one reload that waits is as good as two
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	reloads, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for {
			select {
			case <-reloads.Done():
				return
			case <-hup:
				reload(reloads, log, &o, a)
			}
		}
	}()
	go slim(ctx, log, settled)
	err = a.Run(ctx)
	notify(log, daemon.SdNotifyStopping)
	if err == nil && phoenix.Reborn() {
		log.Info("the agent starts anew")
		return wire.Again()
	}
	return err
}

func launchCommand(_ context.Context, args []string, std streams) error {
	f := flags("launch", "begin a start of the agent: decide which of the programs that updates brought runs", "holdfast launch", std)
	var o overrides
	o.flags(f)
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := o.load()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		return err
	}
	return wire.Launch(c, version, logger(std.err, level))
}

// reload reads the file again and hands over what can change while the agent runs. A file that is wrong changes nothing.
func reload(ctx context.Context, log *slog.Logger, o *overrides, a *wire.Running) {
	notify(log, daemon.SdNotifyReloading+"\nMONOTONIC_USEC="+monotonic())
	defer notify(log, daemon.SdNotifyReady)
	c, err := o.load()
	if err == nil {
		err = a.Reload(ctx, c)
	}
	if err != nil {
		log.Error("configuration not reloaded; the old one is in force", "err", err)
		return
	}
	log.Info("configuration reloaded")
}

// notify tells systemd, where there is one.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Debug("notify systemd", "err", err)
	}
}

// watchdog returns what feeds systemd's watchdog, nil when none is set for this process.
func watchdog(log *slog.Logger) func() {
	if every, err := daemon.SdWatchdogEnabled(false); err != nil || every == 0 {
		return nil
	}
	return func() { notify(log, daemon.SdNotifyWatchdog) }
}

// monotonic is the time systemd wants to know with a reload: CLOCK_MONOTONIC in microseconds.
func monotonic() string {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return "0"
	}
	return strconv.FormatInt(ts.Nano()/1000, 10)
}
