package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/relay"
	"holdfast/agent/lines"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/board/sim"
	"holdfast/cmd/internal/config"
)

// Lines is the process that owns the GPIO lines.
type Lines struct {
	bank    *relay.Bank
	desk    *lines.Desk
	server  *warden.Server
	owned   []io.Closer
	sims    map[string]*sim.Line
	socket  string
	group   int
	log     *slog.Logger
	outputs int
	inputs  int
}

// LinesOptions are what NewLines makes it of.
type LinesOptions struct {
	Config   config.Config
	Log      *slog.Logger
	Progress func() // called as the loop that guards the outputs goes round, every 3 s at least; nil for none
}

// NewLines takes the lines of a configuration and drives the outputs to their initial levels. A line that is busy or not
// there is told and tried again.
func NewLines(o LinesOptions) (*Lines, error) {
	c := o.Config
	clock := &linux.Clock{Vouched: c.Vouched}
	l := &Lines{sims: map[string]*sim.Line{}, socket: LinesSocket(c), group: -1, log: o.Log}
	relays, inputs := map[string]relay.Relay{}, map[string]board.Line{}
	profile, err := Profile(c)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Lines)) {
		v := c.Lines[name]
		if v.Driver != "pwm" {
			if v.Line, err = Spec(c, profile, name, v.Line, v.Output); err != nil {
				return nil, err
			}
		}
		line, err := l.own(name, v, c.Root, clock)
		if err != nil {
			return nil, &config.Error{File: "configuration", Problem: "lines." + name + ": " + err.Error()}
		}
		if !v.Output {
			inputs[name] = line
			continue
		}
		relays[name] = relay.Relay{Line: line, Initial: v.Initial, Safe: v.Safe, Shutdown: v.Shutdown, MinOn: time.Duration(v.MinOn),
			MinOff: time.Duration(v.MinOff), MaxOn: time.Duration(v.MaxOn), MaxPerMinute: v.MaxPerMinute, Excludes: v.Excludes}
	}
	l.outputs, l.inputs = len(relays), len(inputs)
	l.bank, err = relay.New(relay.Options{Clock: clock, Log: o.Log, Silence: lines.Silence, Progress: o.Progress}, relays)
	if err != nil {
		return nil, &config.Error{File: "configuration", Problem: "lines: " + err.Error()}
	}
	l.desk, err = lines.NewDesk(lines.DeskOptions{Clock: clock, Log: o.Log, Inputs: inputs,
		Outputs: func() lines.Standing { return standing(l.bank.Report()) },
		Beat:    func() lines.Standing { return standing(l.bank.Beat()) }})
	if err != nil {
		return nil, err
	}
	return l, l.serves(c, clock)
}

// own makes one line. A line of the machine is not requested yet.
func (l *Lines) own(name string, v config.Line, root string, clock board.Clock) (board.Line, error) {
	if v.Driver == "sim" {
		l.sims[name] = sim.NewInput(name, v.Initial)
		if v.Output {
			l.sims[name] = sim.NewOutput(name, v.Initial)
		}
		return l.sims[name], nil
	}
	if v.Driver == "pwm" {
		p, err := linux.NewPWM(root, v.Line, time.Duration(v.Period))
		if err != nil {
			return nil, err
		}
		duty := v.Duty
		if duty == 0 {
			duty = 1
		}
		return p.Line(duty), nil
	}
	line, err := linux.NewLine(linux.LineSpec{Line: v.Line, Output: v.Output, Initial: v.Initial, ActiveLow: v.ActiveLow, Bias: v.Bias,
		Debounce: time.Duration(v.Debounce), Edges: v.Edges}, linux.LineOptions{Root: root, Clock: clock})
	if err != nil {
		return nil, err
	}
	l.owned = append(l.owned, line)
	return line, nil
}

// serves makes what answers the agent and root.
func (l *Lines) serves(c config.Config, clock board.Clock) error {
	verbs := append(l.bank.Verbs(), l.desk.Verbs()...)
	var names []string
	for _, v := range verbs {
		names = append(names, v.Name)
	}
	set, err := actuators.NewSet(actuators.Options{Allow: names, Clock: clock, Audit: switched(l.log)}, verbs...)
	if err != nil {
		return err
	}
	so := warden.ServerOptions{Set: set, Log: l.log, Conns: 16, Deed: 10 * time.Second, Aside: time.Minute}
	if u, err := user.Lookup(c.Warden.User); err == nil {
		uid, _ := strconv.Atoi(u.Uid) // both are numbers on Linux (getpwnam(3))
		l.group, _ = strconv.Atoi(u.Gid)
		so.UIDs = []int{uid}
	} else {
		l.log.Debug("only root may ask", "user", c.Warden.User, "err", err)
	}
	l.server = warden.NewServer(so)
	return nil
}

// switched writes what outputs were told into the log: questions and beats are no deeds.
func switched(log *slog.Logger) func(actuators.AuditEntry) {
	write := audit(log)
	return func(e actuators.AuditEntry) {
		if e.Verb == "relay.set" || e.Verb == "relay.pulse" {
			write(e)
		}
	}
}

func standing(r relay.Report) lines.Standing {
	s := lines.Standing{Resets: r.Resets, Silent: r.Silent, Seconds: r.Since.Seconds(), Silences: r.Silences, Lines: map[string]lines.Level{}}
	for name, o := range r.Outputs {
		s.Lines[name] = lines.Level{Output: true, High: o.On, Error: o.Fault, Safe: o.Safe, Count: o.Changes, Left: o.Left.Seconds()}
	}
	return s
}

// LinesSocket is where the process that owns the lines listens.
func LinesSocket(c config.Config) string { return filepath.Join(c.RunDir, "lines.sock") }

// Run serves the socket until ctx ends, and then drives the outputs to their shutdown levels. ready is called when it
// listens.
func (l *Lines) Run(ctx context.Context, ready func()) error {
	listener, activated, err := l.listen()
	if err != nil { // the outputs have their initial levels, and nobody will guard them
		over, stop := context.WithCancel(ctx)
		stop()
		return errors.Join(err, l.bank.Run(over))
	}
	l.log.Info("lines are owned", "outputs", l.outputs, "inputs", l.inputs, "socket", l.socket, "activated", activated)
	ready()
	return l.serve(ctx, listener)
}

func (l *Lines) listen() (net.Listener, bool, error) {
	if err := os.MkdirAll(filepath.Dir(l.socket), 0o755); err != nil {
		return nil, false, fmt.Errorf("make directory: %w", err)
	}
	return warden.Listen(l.socket, l.group)
}

// serve serves a listener, and meanwhile outputs are guarded and inputs watched.
func (l *Lines) serve(ctx context.Context, listener net.Listener) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx)) // the outputs are guarded until nobody can set them any more
	var parts sync.WaitGroup
	parts.Go(func() { _ = l.bank.Run(work) })
	parts.Go(func() { _ = l.desk.Run(work) })
	err := l.server.Serve(ctx, listener)
	stop()
	parts.Wait()
	for _, line := range l.owned {
		_ = line.Close() // what the output does now is the chip's affair
	}
	return err
}

// Outdated reports whether an update has put another program in the place of this one, and every output has its safe level,
// so that it disturbs nobody when this process ends and is started with the other. A program on trial is not waited for:
// it is the agent's to pass the trial, and the lines go on.
func (l *Lines) Outdated(c config.Config) bool {
	_, slot, err := Program(c, false, l.log)
	if err != nil || slot == os.Getenv(slotEnv) {
		return false
	}
	for _, o := range l.bank.Report().Outputs {
		if o.On != o.Safe || o.Left > 0 {
			return false
		}
	}
	return true
}

// lined is what the agent has of the lines.
type lined struct {
	client *lines.Client
	verbs  []actuators.Verb
	side   []func(context.Context) error
	sims   map[string]*sim.Line // in one process
}

// lined makes the agent's side of the lines, and in one process the other side at the other end of a pipe; nothing where
// there are no lines. The agent is r's, which comes to be later.
func (r *Running) lined(o Options, clock board.Clock) (*lined, error) {
	c := o.Config
	if len(c.Lines) == 0 {
		return &lined{}, nil
	}
	d := &lined{}
	ask := &warden.Client{Dial: warden.Unix(LinesSocket(c)), Reach: -1} // who asks cannot wait for one that is not there
	if o.Single {
		l, err := NewLines(LinesOptions{Config: c, Log: o.Log.With("part", "lines")})
		if err != nil {
			return nil, err
		}
		var listener net.Listener
		listener, ask.Dial = warden.Pipe()
		d.sims, d.side = l.sims, append(d.side, func(ctx context.Context) error { return l.serve(ctx, listener) })
	}
	uses := map[string]lines.Use{}
	for name, v := range c.Lines {
		uses[name] = lines.Use{Output: v.Output, Edges: v.Edges != ""}
	}
	var err error
	d.client, err = lines.NewClient(lines.ClientOptions{Ask: ask.Keeping(), Clock: clock, Lines: uses, Log: o.Log,
		Turn: func(ctx context.Context) error { return r.Turn(ctx) },
		Back: func(ctx context.Context, body map[string]any) error { return r.Restore(ctx, body) }})
	if err != nil {
		return nil, err
	}
	d.side = append(d.side, d.client.Run)
	if names := outputs(c); len(names) > 0 {
		d.verbs = d.client.Verbs(relay.Describe(names...))
	}
	return d, nil
}

// faults are what is wrong with the lines, for the agent's status.
func (d *lined) faults() map[string]string {
	if d.client == nil {
		return nil
	}
	if fault := d.client.Fault(); fault != "" {
		return map[string]string{"lines": fault}
	}
	return nil
}

// Levels asks the process that owns the lines of a configuration how they stand, once.
func Levels(ctx context.Context, c config.Config) (lines.Standing, error) {
	return lines.Ask(ctx, &warden.Client{Dial: warden.Unix(LinesSocket(c)), Reach: -1})
}

// Chips are the GPIO chips of the machine.
func Chips(c config.Config) ([]linux.Chip, error) { return linux.Chips(c.Root) }
