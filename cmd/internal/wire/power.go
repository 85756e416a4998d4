package wire

import (
	"context"
	"fmt"
	"log/slog"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/power"
	"holdfast/actuators/script"
	"holdfast/actuators/unit"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
)

// deeds are the verbs of the process with power. The agent has the same list, with a Do that asks that process.
func deeds(c config.Config, clock board.Clock) ([]actuators.Verb, error) {
	restart, err := unit.Verb(unit.Systemd{}, clock, 0, c.Units.Restart...)
	if err != nil {
		return nil, err
	}
	scripts, err := script.Verb(script.Options{Dir: c.Scripts.Dir, Limit: time.Duration(c.Scripts.Timeout), Clock: clock})
	if err != nil {
		return nil, err
	}
	// What takes a service or the machine away is not done over and not replayed.
	restart.Destructive, scripts.Destructive = true, true
	return []actuators.Verb{restart, scripts, power.Verb(power.Systemd{})}, nil
}

// A Warden is the process with power.
type Warden struct {
	server *warden.Server
	socket string
	group  int
	log    *slog.Logger
}

// NewWarden puts the warden of a configuration together. idle false keeps it running without work.
func NewWarden(c config.Config, log *slog.Logger, idle bool) (*Warden, error) {
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
	verbs, err := deeds(c, clock)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, v := range verbs {
		names = append(names, v.Name)
	}
	set, err := actuators.NewSet(actuators.Options{Allow: names, Clock: clock, Limiter: limiter, Audit: audit(log)}, verbs...)
	if err != nil {
		return nil, err
	}
	w := &Warden{socket: Socket(c), group: -1, log: log}
	o := warden.ServerOptions{Set: set, Limiter: limiter, Log: log}
	if idle {
		o.Idle = time.Duration(c.Warden.Idle)
	}
	if u, err := user.Lookup(c.Warden.User); err == nil {
		uid, _ := strconv.Atoi(u.Uid) // both are numbers on Linux (getpwnam(3))
		w.group, _ = strconv.Atoi(u.Gid)
		o.UIDs = []int{uid}
	} else if idle { // on an installed system the user is there; in one process nobody asks over a socket
		log.Warn("only root may ask", "user", c.Warden.User, "err", err)
	} else {
		log.Debug("only root may ask", "user", c.Warden.User, "err", err)
	}
	w.server = warden.NewServer(o)
	return w, nil
}

// Run serves the socket until ctx ends or nobody has asked for a while.
func (w *Warden) Run(ctx context.Context) error {
	listener, activated, err := warden.Listen(w.socket, w.group)
	if err != nil {
		return err
	}
	w.log.Info("warden listens", "socket", w.socket, "activated", activated)
	return w.server.Serve(ctx, listener)
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
		log.Info("deed", "verb", e.Verb, "args", e.Args, "reason", e.Reason, "outcome", e.Outcome, "err", e.Error)
	}
}

// ask returns a client of the warden and, in one process, the warden itself at the other end of a pipe.
func ask(o Options) (client *warden.Client, serve func(context.Context) error, err error) {
	if !o.Single {
		return &warden.Client{Dial: warden.Unix(Socket(o.Config))}, nil, nil
	}
	w, err := NewWarden(o.Config, o.Log.With("part", "warden"), false)
	if err != nil {
		return nil, nil, err
	}
	listener, dial := warden.Pipe()
	return &warden.Client{Dial: dial}, func(ctx context.Context) error { return w.server.Serve(ctx, listener) }, nil
}
