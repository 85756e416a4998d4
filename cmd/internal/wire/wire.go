// Package wire is the composition root of holdfast: the one place that knows every part, and the only importer of
// drivers. It makes parts from the configuration and decides nothing else.
package wire

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/unit"
	"holdfast/agent"
	"holdfast/agent/link"
	"holdfast/agent/link/mqtt"
	"holdfast/agent/local"
	"holdfast/agent/spool"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/board/sim"
	"holdfast/board/strict"
	"holdfast/cmd/internal/config"
	"holdfast/collectors"
	"holdfast/collectors/host"
	"holdfast/collectors/pins"
	"holdfast/collectors/probe"
	"holdfast/remediate"
)

// ErrClaimed means that another agent works in the state directory.
var ErrClaimed = linux.ErrClaimed

// Options is what Run makes an agent of.
type Options struct {
	Config   config.Config
	Version  string
	Log      *slog.Logger
	Level    *slog.LevelVar
	Single   bool                        // do the warden's work in this process
	Started  time.Time                   // of the process
	Again    func(context.Context) error // starts the agent anew, in one process with the warden
	Built    time.Time                   // of the program; zero when that is not known
	Power    board.Power                 // restarts the machine, in one process; nil for the configuration's
	Units    *Units                      // stands for systemd; nil for systemd
	Progress func()
	Ready    func()
}

// Running is an agent and what it was made of.
type Running struct {
	*agent.Agent
	base  config.Config
	claim io.Closer // of the state directory
	probe *probe.Probe
	Lines map[string]*sim.Line          // simulated lines, for demonstrations and tests
	rules atomic.Pointer[config.Config] // where they are, as of the last reload
}

// Run puts the agent of a configuration together. Nothing runs before Running.Run. The state directory is claimed first:
// an agent beside another would take its spool, and its trial for one that was not survived.
func Run(o Options) (*Running, error) {
	claim, err := claim(o.Config)
	if err != nil {
		return nil, err
	}
	r, err := assemble(o)
	if err != nil {
		claim.Close()
		return nil, err
	}
	r.claim = claim
	return r, nil
}

// Run runs the agent until ctx ends, and then lets go of the state directory. It can be called once.
func (r *Running) Run(ctx context.Context) error {
	defer r.claim.Close()
	defer r.probe.Close()
	return r.Agent.Run(ctx)
}

// claim makes the directories of a configuration and takes the one of the state.
func claim(c config.Config) (io.Closer, error) {
	for _, dir := range []string{c.StateDir, c.RunDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make directory: %w", err)
		}
	}
	return linux.Claim(c.StateDir)
}

func assemble(o Options) (*Running, error) {
	c := o.Config
	b, err := Board(c)
	if err != nil {
		return nil, err
	}
	dialect, err := Dialect(c, b.Identity.ID)
	if err != nil {
		return nil, err
	}
	conn, err := Conn(c, dialect, b.Clock, o.Built, o.Log)
	if err != nil {
		return nil, err
	}
	r := &Running{base: c}
	r.rules.Store(&c)
	owned, err := r.lined(o, b.Clock)
	if err != nil {
		return nil, err
	}
	r.Lines = owned.sims
	if owned.client != nil {
		b.Lines = owned.client.Lines()
	}
	asked, err := reached(o, b, r)
	if err != nil {
		return nil, err
	}
	verbs, side := append(owned.verbs, asked.verbs...), append(owned.side, asked.side...)
	watch := o.Units.source(c.Root)
	if err := watch.Watch(c.Units.Watch); err != nil { // the agent tells it what changes later
		return nil, &config.Error{File: "configuration", Problem: "units.watch: " + err.Error()}
	}
	parts := agent.Parts{
		Version: o.Version, Board: b, Conn: conn, Dialect: dialect,
		Spool:   spoolOptions(c),
		Streams: streams(c, b), Verbs: verbs, Updates: asked.updates, Repairs: asked.repairs, Crashes: asked.crashes, Relays: outputs(c), Watch: func(names []string) { warn(o.Log, "units", watch.Watch(names)) },
		Settings: Settings(c),
		Policy: agent.Policy{Linger: time.Duration(c.Telemetry.Linger), BatchBytes: int(c.Telemetry.BatchBytes),
			InFlight: c.Telemetry.InFlight, ShadowBytes: int(c.Shadow.LimitBytes), ShadowTrial: time.Duration(c.Shadow.Trial),
			LinkGrace: time.Duration(c.Shadow.LinkGrace), CapacityBits: float64(c.Network.Capacity), StartUp: o.Started},
		Log: o.Log, Level: o.Level, Progress: o.Progress, Ready: o.Ready, Side: side, Faults: owned.faults,
	}
	if c.Rules.Dir != "" || c.Rules.Content {
		parts.Rules = func() ([]remediate.File, error) { return RuleFiles(*r.rules.Load()) }
	}
	if c.Diagnosis.Model != "" || c.Diagnosis.Content {
		parts.Model = func() ([]byte, error) { return ModelOf(*r.rules.Load()) }
	}
	parts.Sources = append(host.All(host.Options{
		Root: c.Root, PerCore: c.Collectors["cpu"].PerCore, Mounts: c.Disk.Mounts,
		Interfaces: host.Filter{Include: c.Network.Include, Exclude: c.Network.Exclude},
		Self:       func() []collectors.Field { return r.counters() },
	}), watch)
	parts.Sources = append(parts.Sources, sensing(c, b.Clock)...)
	r.probe = probing(c, func() bool { return r.Agent.Counters().Linked })
	parts.Sources = append(parts.Sources, r.probe)
	if len(b.Lines) > 0 {
		perSecond := pins.EdgesPerSecond
		if n := c.Collectors["gpio"].Edges; n != nil {
			perSecond = *n
		}
		parts.Sources = append(parts.Sources, pins.New(b.Lines))
		parts.Streams = append(parts.Streams, pins.NewEdges(b.Lines, b.Clock, perSecond))
	}
	if err := knownSources(c, parts.Sources); err != nil {
		return nil, err
	}
	if parts.Allow, err = allowed(c, verbs); err != nil {
		return nil, err
	}
	status := &local.Server{Path: filepath.Join(c.RunDir, local.Name), Log: o.Log,
		Status: func(ctx context.Context) (agent.Status, error) { return r.Status(ctx) }}
	parts.Side = append(parts.Side, status.Run)
	if r.Agent, err = agent.New(parts); err != nil {
		return nil, err
	}
	return r, nil
}

// Reload hands over what of a new configuration can change while the agent runs: what agent.Settings holds, and the rules.
func (r *Running) Reload(ctx context.Context, c config.Config) error {
	r.rules.Store(&c)
	if err := r.Agent.Reload(ctx, Settings(c)); err != nil {
		return err
	}
	return r.Agent.ReloadRules(ctx)
}

// counters are what the self source says of the agent beside its process.
func (r *Running) counters() []collectors.Field {
	n := r.Agent.Counters()
	return []collectors.Field{
		{Name: "spool_bytes", Value: collectors.Number(float64(n.SpoolBytes))},
		{Name: "records_waiting_count", Value: collectors.Number(float64(n.RecordsWaiting))},
		{Name: "records_dropped_count", Value: collectors.Number(float64(n.RecordsDropped))},
		{Name: "reconnects_count", Value: collectors.Number(float64(n.Reconnects))},
	}
}

// Board opens the machine a configuration describes, but for its lines, which another process owns.
func Board(c config.Config) (*board.Board, error) {
	id := linux.Identity(c.Root)
	if id.ID = c.ID; id.ID == "" {
		id.ID = linux.SuggestID(c.Root)
	}
	if id.ID == "" {
		return nil, &config.Error{File: config.DefaultPath, Problem: "this machine has neither a host name nor a machine id",
			Hint: `set id = "a-name"`}
	}
	files, err := linux.NewFiles(filepath.Join(c.StateDir, "state"))
	if err != nil {
		return nil, err
	}
	logs, err := linux.NewDir(filepath.Join(c.StateDir, "spool"))
	if err != nil {
		return nil, err
	}
	facts := linux.Facts(c.Root)
	if p, err := Profile(c); err != nil {
		return nil, err
	} else if p != nil {
		facts.Profile, facts.Verified = p.Name, p.Verified
	}
	return &board.Board{Identity: id, Facts: facts, Root: c.Root, Clock: &linux.Clock{Vouched: c.Vouched}, Files: files, Logs: logs}, nil
}

// Dialect makes the dialect a configuration names.
func Dialect(c config.Config, id string) (link.Dialect, error) {
	switch c.Broker.Dialect {
	case "aws":
		d := link.AWS{Thing: id, Shadow: c.AWS.Shadow, Root: c.Broker.TopicRoot, KeepAlive: time.Duration(c.Broker.KeepAlive)}
		return d, d.Check()
	default:
		password, err := passwordOf(c.Broker.PasswordFile)
		if err != nil {
			return nil, err
		}
		d := link.Plain{Device: id, Root: c.Broker.TopicRoot, User: c.Broker.User, Password: password,
			KeepAlive: time.Duration(c.Broker.KeepAlive), StateBytes: int(c.Shadow.LimitBytes)}
		return d, d.Check()
	}
}

func passwordOf(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("broker password: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimRight(line, "\r"), nil
}

// Conn makes the connection a configuration names. The program was built at a time that has passed for certain.
func Conn(c config.Config, d link.Dialect, clock board.Clock, built time.Time, log *slog.Logger) (*mqtt.Conn, error) {
	return mqtt.New(d.Session(), mqtt.Options{
		Brokers: c.Broker.URLs, CAFile: c.Broker.CAFile, CertFile: c.Broker.CertFile, KeyFile: c.Broker.KeyFile,
		ServerName: c.Broker.ServerName, Clock: clock, Earliest: built, Log: log,
		Backoff: mqtt.Backoff{Min: time.Duration(c.Broker.MinBackoff), Max: time.Duration(c.Broker.MaxBackoff)},
	})
}

func spoolOptions(c config.Config) spool.Options {
	return spool.Options{LimitBytes: int64(c.Spool.LimitBytes), RAMBytes: int(c.Spool.RAMBytes), HoldOff: time.Duration(c.Spool.HoldOff)}
}

// Settings are what of a configuration the shadow may change.
func Settings(c config.Config) agent.Settings {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil { // checked by config
		level = slog.LevelInfo
	}
	s := agent.Settings{
		Period: time.Duration(c.Telemetry.Period), Digest: time.Duration(c.Telemetry.Digest), LogLevel: level,
		Watch: c.Units.Watch, Labels: c.Labels, Sources: map[string]agent.Source{},
		Thresholds: agent.Thresholds{CPU: c.Thresholds.CPU, Memory: c.Thresholds.Memory, Network: c.Thresholds.Network},
	}
	for name, v := range c.Collectors {
		s.Sources[name] = agent.Source{Enabled: v.Enabled, Period: (*time.Duration)(v.Period), Digest: (*time.Duration)(v.Digest),
			Deadband: v.Deadband}
	}
	return s
}

// knownSources refuses a section for a collector that there is not.
func knownSources(c config.Config, sources []collectors.Source) error {
	var names []string
	for _, s := range sources {
		names = append(names, s.Name())
	}
	for name := range c.Collectors {
		if !slices.Contains(names, name) {
			e := &config.Error{File: "configuration", Problem: fmt.Sprintf("collectors.%s: no such collector", name),
				Hint: "the collectors of this board are " + strings.Join(names, ", ")}
			if near := strict.Nearest(name, names); near != "" {
				e.Hint = fmt.Sprintf("did you mean %q?", near)
			}
			return e
		}
	}
	return nil
}

// outputs are the names of the lines that may be switched.
func outputs(c config.Config) []string {
	var names []string
	for name, l := range c.Lines {
		if l.Output {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// streams are the sources that speak when they have something to say.
func streams(c config.Config, b *board.Board) []collectors.Stream {
	if !c.Journal.Follow {
		return nil
	}
	return []collectors.Stream{follow(c, b)}
}

// allowed is the allow-list as far as this board has the verbs: the list of the configuration names verbs of the whole
// program, and a board without relays has no relay.set.
func allowed(c config.Config, verbs []actuators.Verb) ([]string, error) {
	known := []string{"ping", "sample"}
	for _, v := range verbs {
		known = append(known, v.Name)
	}
	var out []string
	for _, name := range c.Commands.Allow {
		switch {
		case slices.Contains(known, name):
			out = append(out, name)
		case !slices.Contains(config.CommandNames(), name):
			return nil, &config.Error{File: "configuration", Problem: fmt.Sprintf("commands.allow: no such command %q", name),
				Hint: "there are " + strings.Join(config.CommandNames(), ", ")}
		}
	}
	return out, nil
}

// A reach is what run does through the warden.
type reach struct {
	verbs   []actuators.Verb // what run can do itself, too
	updates *agent.Updates
	repairs *agent.Repairs
	crashes agent.Crashes
	side    []func(context.Context) error
}

// reached are the deeds of this board: what run can do itself, and what it asks the warden for.
func reached(o Options, b *board.Board, r *Running) (p reach, err error) {
	c := o.Config
	client, serve, err := ask(o)
	if err != nil {
		return p, err
	}
	if serve != nil {
		p.side = append(p.side, serve)
	}
	powerful, err := deeds(c, b.Clock, nil, nil, described(c), unit.Systemd{}, o.Log)
	if err != nil {
		return p, err
	}
	p.verbs = append([]actuators.Verb{tail()}, client.Remote(append(powerful, safeLeave()...)...)...)
	p.updates, p.crashes = updates(o, client, b.Clock), crashed(client)
	p.repairs = repairs(o, client, func() config.Config { return *r.rules.Load() })
	return p, nil
}
