package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/actuators"
	"holdfast/actuators/power"
	"holdfast/actuators/script"
	"holdfast/agent"
	"holdfast/agent/fetch"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/board/strict"
	"holdfast/cmd/internal/config"
	"holdfast/collectors/units"
	"holdfast/update"
)

// Kinds are what of a board can be updated.
func Kinds(c config.Config) (all []string) {
	for _, k := range []struct {
		kind string
		on   bool
	}{{"system", c.Update.Bootloader != ""}, {"agent", c.Update.Agent != ""}, {"content", c.Update.Content != ""}} {
		if k.on {
			all = append(all, k.kind)
		}
	}
	return all
}

// described are the verbs of updates as the agent knows them: the warden does them.
func described(c config.Config) map[string]*update.Engine {
	engines := map[string]*update.Engine{}
	for _, kind := range Kinds(c) {
		engines[kind] = nil
	}
	return engines
}

// updates is how the agent brings updates, nil where there are none.
func updates(o Options, client *warden.Client, clock board.Clock) *agent.Updates {
	c := o.Config
	if len(Kinds(c)) == 0 {
		return nil
	}
	patient := *client
	patient.Deed = 6 * time.Hour // a segment may come over a slow link; every file has a rate of its own it must keep
	ask := func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error) {
		return patient.Do(ctx, verb, args, "update")
	}
	return &agent.Updates{Kinds: Kinds(c), Ask: ask, Open: Repositories(c, clock, o.Built)}
}

// Updater asks the warden of a configuration, for somebody at the board. It may bring files from any directory.
func Updater(c config.Config, log *slog.Logger) *agent.Updater {
	client := &warden.Client{Dial: warden.Unix(Socket(c)), Deed: 6 * time.Hour}
	clock := Clock(c)
	return &agent.Updater{Clock: clock, Log: log, Tell: func(context.Context, agent.UpdateStatus) {},
		Ask: func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error) {
			return client.Do(ctx, verb, args, "by hand")
		},
		Open: func(j *agent.UpdateJob) (agent.Repository, error) {
			return fetch.Open(j.Repository, fetch.Options{Clock: clock, Allow: []string{j.Repository}})
		},
		Health: func(ctx context.Context) (agent.Health, error) { // what the agent says, where there is one
			s, err := Status(ctx, c)
			if err != nil {
				return agent.Health{}, ctx.Err()
			}
			h := agent.Health{Link: s.Link.Up}
			for _, one := range s.Sources {
				if one.Source != "collector" && !slices.Contains(h.Sources, one.Source) {
					h.Sources = append(h.Sources, one.Source)
				}
			}
			return h, nil
		}}
}

// Repositories opens the repository that a job names, as far as the configuration allows. The program was built at a time
// that has passed for certain.
func Repositories(c config.Config, clock board.Clock, built time.Time) func(*agent.UpdateJob) (agent.Repository, error) {
	u := c.Update
	allow := u.Repositories
	if len(allow) == 0 && u.Repository != "" {
		allow = []string{u.Repository}
	}
	o := fetch.Options{CAFile: u.CAFile, CertFile: u.CertFile, KeyFile: u.KeyFile, Clock: clock, Earliest: built, Allow: allow}
	return func(j *agent.UpdateJob) (agent.Repository, error) {
		base := j.Repository
		var inline map[string][]byte
		if base == "inline" {
			var err error
			if base, inline, err = brought(j.Metadata); err != nil {
				return nil, err
			}
		}
		if base == "" {
			base = u.Repository
		}
		if base == "" {
			return nil, errors.New("the job names no repository, and neither does update.repository")
		}
		r, err := fetch.Open(base, o)
		if err != nil || inline == nil {
			return r, err
		}
		return fetch.Inline{Files: inline, Next: r}, nil
	}
}

// brought reads the metadata that a job brings along: {"payload": URL, "files": {"metadata/timestamp.json": {…}, …}}. The
// bytes of each file are those between its name's colon and the next comma: what is signed is not written anew.
func brought(raw json.RawMessage) (base string, files map[string][]byte, err error) {
	var m struct {
		Payload string                     `json:"payload"`
		Files   map[string]json.RawMessage `json:"files"`
	}
	if err := strict.Unmarshal(raw, &m, strict.Limits{Bytes: 60 << 10, Depth: 16, Members: 4096}); err != nil {
		return "", nil, fmt.Errorf("metadata: %w", err)
	}
	files = map[string][]byte{}
	for name, text := range m.Files {
		files[name] = text
	}
	return m.Payload, files, nil
}

// A switchboard is what an update of the system needs of a board.
type switchboard struct {
	slots board.Slots
	boot  board.Boot
}

// open finds the slots and the bootloader. A model of a bootloader is started here, as a machine starts a real one.
func (s *switchboard) open(c config.Config, files board.Files, log *slog.Logger, starts bool) error {
	if err := place(&c, log); err != nil {
		return err
	}
	layout := layoutOf(c)
	var err error
	if c.Update.Bootloader == "model" {
		s.boot, err = model(c, files, &layout, log, starts)
	} else {
		s.boot, err = bootloader(c, &layout)
	}
	if err != nil {
		return fmt.Errorf("bootloader: %w", err)
	}
	if s.slots, err = linux.NewSlots(layout, log); err != nil {
		return fmt.Errorf("slots: %w", err)
	}
	return nil
}

// model is a bootloader of files. It says which slot runs on a line of its own, as a kernel is told on its command line.
func model(c config.Config, files board.Files, layout *linux.Layout, log *slog.Logger, starts bool) (board.Boot, error) {
	links, err := linux.NewLinks(linux.LinksOptions{Dir: filepath.Join(filepath.Clean(c.StateDir)+"-warden", "model.d"), Files: files, Document: "model", Bytes: 1, Log: log})
	if err != nil {
		return nil, err
	}
	layout.Cmdline = filepath.Join(c.RunDir, "cmdline")
	if _, err := os.Stat(layout.Cmdline); errors.Is(err, fs.ErrNotExist) || starts {
		id, err := links.Start()
		if err != nil {
			return nil, err
		}
		line := "rauc.slot=" + strings.ToUpper(string(id)) + "\n"
		if err := os.MkdirAll(c.RunDir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(layout.Cmdline, []byte(line), 0o644); err != nil {
			return nil, err
		}
	}
	return links, nil
}

// engines makes what moves this board from one release to the next.
func (w *Warden) engines(wo WardenOptions, files board.Files, clock board.Clock, turn chan struct{}) (map[string]*update.Engine, error) {
	c := wo.Config
	engines := map[string]*update.Engine{}
	if len(Kinds(c)) == 0 {
		return engines, nil
	}
	u := c.Update
	anchor, err := os.ReadFile(u.Anchor)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("root of trust: %w", err)
	}
	window, _ := update.ParseWindow(u.Window) // checked with the configuration
	device, _ := ID(c)
	o := update.Options{Files: files, Clock: clock, Device: device, Compatible: compatible(c), Anchor: anchor, Program: wo.Version, Built: wo.Built,
		Window: window, Settle: time.Duration(u.Settle), Deadline: time.Duration(u.Deadline), BackOff: time.Duration(u.BackOff),
		Trials: u.Trials, Rate: int64(u.Rate), Log: w.log.With("part", "update")}
	if len(c.Units.Watch) > 0 {
		o.Units = func(ctx context.Context) map[string]bool { return active(ctx, c.Units.Watch, w.log) }
	}
	o.Scripts = func(ctx context.Context) error {
		return script.All(ctx, script.Options{Dir: u.Health, Owner: os.Geteuid(), Limit: time.Duration(u.HookLimit), Clock: clock, Turn: turn})
	}
	o.Hook = func(ctx context.Context, e update.Event, s update.Status) error {
		if e == update.BeforeDownload { // signatures were verified: what that took of the program is not needed for long
			_ = linux.Unmap()
		}
		return script.All(ctx, script.Options{Dir: u.Hooks, Owner: os.Geteuid(), Limit: time.Duration(u.HookLimit), Clock: clock, Turn: turn, Env: []string{
			"HOLDFAST_KIND=" + s.Kind, "HOLDFAST_JOB=" + s.Job, "HOLDFAST_RELEASE=" + s.Release, "HOLDFAST_RUNNING=" + s.Running,
			"HOLDFAST_SLOT=" + string(s.Booted), fmt.Sprintf("HOLDFAST_PERCENT=%.0f", s.Percent)}}, string(e))
	}
	if u.Battery > 0 {
		o.Supply = func() error { return linux.Supply(c.Root, u.Battery) }
	}
	for _, kind := range Kinds(c) {
		o := o
		o.Kind = kind
		if kind == "system" {
			var s switchboard
			if err := s.open(c, files, w.log, wo.Starts); err != nil {
				return nil, err
			}
			o.Slots, o.Boot, o.Uptime, o.Restart, o.Running = s.slots, s.boot, started(c, clock), w.restart, running(c, w.log)
		} else if err := w.linked(&o, c, wo); err != nil {
			return nil, err
		}
		if engines[kind], err = update.New(o); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
	}
	return engines, nil
}

// started tells the starts of the machine apart, and how long ago this one was. Where a file stands for the kernel's
// command line, whoever wrote it started the machine; a model of a bootloader starts with its process.
func started(c config.Config, clock board.Clock) func() (string, time.Duration) {
	if name := c.Update.UBoot.Cmdline; name != "" {
		if info, err := os.Stat(name); err == nil {
			at := info.ModTime()
			return func() (string, time.Duration) { return at.Format(time.RFC3339Nano), clock.Now().Sub(at) }
		}
	}
	if uptime := warden.Uptime(c.Root); uptime != nil && c.Update.Bootloader != "model" {
		return uptime
	}
	began := clock.Now()
	name := fmt.Sprintf("%d-%d", os.Getpid(), began.UnixNano())
	return func() (string, time.Duration) { return name, clock.Now().Sub(began) }
}

// restart asks for a restart of the machine: forward within the limits that hold for everybody, back at once.
func (w *Warden) restart(ctx context.Context, back bool) error {
	if back {
		return w.power.Reboot(ctx)
	}
	return w.server.Do(ctx, "reboot", "update")
}

// active says which units are active. When systemd cannot be asked none is, as far as anybody knows.
func active(ctx context.Context, names []string, log *slog.Logger) map[string]bool {
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	now := map[string]bool{}
	for _, name := range names {
		now[name] = false
	}
	bus, err := units.System(ctx)
	if err != nil {
		log.Warn("units cannot be asked for", "err", err)
		return now
	}
	defer bus.Close()
	states, err := bus.States(ctx, names)
	if err != nil || len(states) != len(names) {
		log.Warn("units cannot be asked for", "err", err)
		return now
	}
	for i, s := range states {
		now[names[i]] = s.Active == "active"
	}
	return now
}

// compatible is what this board calls itself: as configured, or as the device tree has it, most particular first.
func compatible(c config.Config) []string {
	if len(c.Update.Compatible) > 0 {
		return c.Update.Compatible
	}
	return linux.Compatible(c.Root)
}

// running is what the image says of itself.
func running(c config.Config, log *slog.Logger) *update.Release {
	raw, err := os.ReadFile(c.Update.Release)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var r struct {
		Release string `json:"release"`
		Seq     int64  `json:"seq"`
		Floor   int64  `json:"security_floor"`
	}
	if err == nil {
		err = strict.Unmarshal(raw, &r, strict.Limits{Bytes: 4 << 10})
	}
	if err == nil {
		err = update.CheckRelease(r.Release)
	}
	if err != nil {
		log.Warn("the image does not say which release it is", "file", c.Update.Release, "err", err)
		return nil
	}
	return &update.Release{Name: r.Release, Seq: r.Seq, Floor: r.Floor}
}

// supplies is board.Power for a configuration.
func supplies(c config.Config) board.Power {
	if len(c.Power.Reboot) > 0 {
		return power.Command(c.Power.Reboot)
	}
	return power.Systemd{}
}
