package wire

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/clean"
	"holdfast/actuators/confined"
	"holdfast/actuators/iface"
	"holdfast/actuators/power"
	"holdfast/actuators/script"
	"holdfast/actuators/unit"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
	"holdfast/update"
)

// deeds are the verbs of the process with power. The agent has the same list, with a Do that asks that process.
func deeds(c config.Config, clock board.Clock, supply board.Power, turn chan struct{}, engines map[string]*update.Engine, bus unit.Bus, log *slog.Logger) ([]actuators.Verb, error) {
	restart, err := unit.Verb(bus, clock, 0, c.Units.Restart...)
	if err != nil {
		return nil, err
	}
	scripts, faults, err := script.Verb(script.Options{Dir: c.Scripts.Dir, Owner: os.Geteuid(), Limit: time.Duration(c.Scripts.Timeout),
		Clock: clock, Turn: turn, Units: true})
	if err != nil {
		return nil, err
	}
	for _, fault := range faults {
		log.Warn("a script is left out", "err", fault)
	}
	run := confined.Runner{Clock: clock, Turn: turn, Units: true}
	cleaning, err := clean.Verb(Cleanable(c), cleaner(run, Cleanable(c)))
	if err != nil {
		return nil, err
	}
	cycling, err := iface.Verb(clock, c.Interfaces.Cycle, cycler(run))
	if err != nil {
		return nil, err
	}
	// What takes a service or the machine away is not done over and not replayed.
	restart.Destructive, scripts.Destructive = true, true
	verbs := []actuators.Verb{restart, scripts, cleaning, cycling, power.Verb(supply), lastWords(c)}
	if len(engines) > 0 {
		verbs = append(verbs, warden.UpdateVerbs(engines)...)
	}
	return verbs, nil
}

// A Warden is the process with power.
type Warden struct {
	server  *warden.Server
	updates map[string]*update.Engine
	power   board.Power
	socket  string
	group   int
	log     *slog.Logger
}

// WardenOptions are what NewWarden makes a warden of.
type WardenOptions struct {
	Config  config.Config
	Version string
	Built   time.Time // of this program
	Log     *slog.Logger
	Idle    bool        // end when there is nothing to do
	Starts  bool        // in one process with the agent, which stands for a machine: a model of a bootloader starts with it
	Power   board.Power // nil for the configuration's
	Units   *Units      // nil for systemd
	// Again starts the agent anew, where it is no service of systemd; nil where it is.
	Again func(context.Context) error
}

// NewWarden puts the warden of a configuration together.
func NewWarden(o WardenOptions) (*Warden, error) {
	c, log := o.Config, o.Log
	clock := &linux.Clock{Vouched: c.Vouched}
	files, err := linux.NewFiles(filepath.Clean(c.StateDir) + "-warden") // not in the agent's own directory, which it could rename
	if err != nil {
		return nil, err
	}
	limiter, err := actuators.NewLimiter(files, clock, warden.Uptime(c.Root),
		actuators.Limit{Class: actuators.Reboot, PerHour: c.Limits.RebootsPerHour, PerDay: c.Limits.RebootsPerDay},
		actuators.Limit{Class: actuators.Repair, PerHour: c.Limits.RepairsPerHour, PerDay: c.Limits.RepairsPerDay})
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	if fault := limiter.Fault(); fault != nil {
		log.Error("the record of deeds is damaged; every limit counts as used up", "err", fault)
	}
	w := &Warden{power: o.Power, socket: Socket(c), group: -1, log: log}
	if w.power == nil {
		w.power = supplies(c)
	}
	turn := make(chan struct{}, 1) // one script at a time, whoever wants it run
	if w.updates, err = w.engines(o, files, clock, turn); err != nil {
		return nil, fmt.Errorf("update: %w", err)
	}
	verbs, err := deeds(c, clock, w.power, turn, w.updates, o.Units.bus(clock), log)
	if err != nil {
		return nil, err
	}
	about, err := w.repairVerbs(o, files, clock, limiter, verbs)
	if err != nil {
		return nil, err
	}
	verbs = append(verbs, about...)
	set, err := actuators.NewSet(actuators.Options{Allow: names(verbs), Clock: clock, Limiter: limiter, Audit: audit(log)}, verbs...)
	if err != nil {
		return nil, err
	}
	so := warden.ServerOptions{Set: set, Limiter: limiter, Log: log, Stall: 2 * time.Minute, Busy: w.busy}
	if o.Idle {
		so.Idle = time.Duration(c.Warden.Idle)
	}
	if u, err := user.Lookup(c.Warden.User); err == nil {
		uid, _ := strconv.Atoi(u.Uid) // both are numbers on Linux (getpwnam(3))
		w.group, _ = strconv.Atoi(u.Gid)
		so.UIDs = []int{uid}
	} else if o.Idle { // on an installed system the user is there; in one process nobody asks over a socket
		log.Warn("only root may ask", "user", c.Warden.User, "err", err)
	} else {
		log.Debug("only root may ask", "user", c.Warden.User, "err", err)
	}
	if o.Starts { // whoever may run the agent here has all its power anyway
		so.UIDs = append(so.UIDs, os.Geteuid())
	}
	w.server = warden.NewServer(so)
	return w, nil
}

// Run serves the socket until ctx ends or nobody has asked for a while.
func (w *Warden) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(w.socket), 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	listener, activated, err := warden.Listen(w.socket, w.group)
	if err != nil {
		return err
	}
	w.log.Info("warden listens", "socket", w.socket, "activated", activated)
	return w.serve(ctx, listener)
}

// serve serves a listener, and meanwhile the engines do what they do by themselves.
func (w *Warden) serve(ctx context.Context, listener net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	var alone sync.WaitGroup
	defer alone.Wait()
	defer stop()
	for _, e := range w.updates {
		alone.Go(func() { _ = e.Run(ctx) })
	}
	return w.server.Serve(ctx, listener)
}

// within serves the process it runs in, and where there is something to update whoever asks at the board, too. That its
// socket cannot be had keeps nobody from the rest.
func (w *Warden) within(ctx context.Context, pipe net.Listener) error {
	if len(w.updates) == 0 {
		return w.serve(ctx, pipe)
	}
	err := os.MkdirAll(filepath.Dir(w.socket), 0o755)
	var socket net.Listener
	if err == nil {
		socket, _, err = warden.Listen(w.socket, w.group)
	}
	if err != nil {
		w.log.Warn("updates cannot be asked for at the board", "err", err)
		return w.serve(ctx, pipe)
	}
	ctx, stop := context.WithCancel(ctx)
	var aside sync.WaitGroup
	defer aside.Wait()
	defer stop()
	aside.Go(func() {
		if err := w.server.Serve(ctx, socket); err != nil {
			w.log.Warn("updates cannot be asked for at the board any more", "err", err)
		}
	})
	return w.serve(ctx, pipe)
}

// busy reports whether a system is on trial: somebody has to keep its deadline.
func (w *Warden) busy() bool {
	for _, e := range w.updates {
		if e.Trial() {
			return true
		}
	}
	return false
}

// Socket is where the warden listens.
func Socket(c config.Config) string {
	if c.Warden.Socket != "" {
		return c.Warden.Socket
	}
	return filepath.Join(c.RunDir, "warden.sock")
}

// audit writes every deed into the warden's own log, which the agent cannot change.
func audit(log *slog.Logger) func(actuators.AuditEntry) {
	return func(e actuators.AuditEntry) {
		level := slog.LevelInfo
		switch e.Verb { // they come by the dozen, and what they led to is told
		case "update.advance", "update.status", "repair.plan", "repair.status", "boot.began", "boot.lasted", "boot.ended":
			level = slog.LevelDebug
		}
		log.Log(context.Background(), level, "deed", "verb", e.Verb, "args", e.Args, "reason", e.Reason, "outcome", e.Outcome, "err", e.Error)
	}
}

// ask returns a client of the warden and, in one process, the warden itself at the other end of a pipe.
func ask(o Options) (client *warden.Client, serve func(context.Context) error, err error) {
	if !o.Single {
		return &warden.Client{Dial: warden.Unix(Socket(o.Config))}, nil, nil
	}
	w, err := NewWarden(WardenOptions{Config: o.Config, Version: o.Version, Built: o.Built, Log: o.Log.With("part", "warden"), Starts: true, Power: o.Power, Units: o.Units, Again: o.Again})
	if err != nil {
		return nil, nil, err
	}
	listener, dial := warden.Pipe()
	return &warden.Client{Dial: dial}, func(ctx context.Context) error { return w.within(ctx, listener) }, nil
}
