// Package doctor checks what goes wrong in the field, from the configuration to the broker's access list, and says what
// to do. It changes nothing but one file it makes and removes in the state directory, and one event it publishes.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"time"

	"holdfast/agent"
	"holdfast/agent/lines"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// An Outcome is what a check came to.
type Outcome string

// The outcomes. Only Fail makes the doctor's verdict bad.
const (
	OK      Outcome = "ok"
	Warn    Outcome = "warn"
	Fail    Outcome = "fail"
	Skipped Outcome = "skipped" // Seen says why
)

// A Check is one thing that was looked at.
type Check struct {
	Name    string   `json:"name"`
	Subject string   `json:"subject,omitempty"` // which of several, such as a broker's address
	Outcome Outcome  `json:"outcome"`
	Seen    string   `json:"seen"`
	Detail  []string `json:"detail,omitempty"`
	Hint    string   `json:"hint,omitempty"` // the next step
}

// A Report is everything that was looked at, in the order in which one thing builds on another.
type Report struct {
	Version string          `json:"version"`
	Device  string          `json:"device,omitempty"`
	Time    time.Time       `json:"time"`
	OK      bool            `json:"ok"` // nothing failed
	Count   map[Outcome]int `json:"count"`
	Checks  []Check         `json:"checks"`
}

// Misconfigured reports whether the configuration is wrong, so that most else could not be looked at.
func (r *Report) Misconfigured() bool {
	return len(r.Checks) > 0 && r.Checks[0].Name == "configuration" && r.Checks[0].Outcome == Fail
}

// Options say what to look at. Config and File are required; what is nil is the machine's own.
type Options struct {
	Config    config.Config
	File      string // the configuration's name
	ConfigErr error  // why there is no configuration
	Version   string
	UID       int // who asks: what only root can see is skipped for others

	Clock  board.Clock
	Status func(ctx context.Context) (agent.Status, error)
	Limits func(ctx context.Context) (left map[string]warden.Left, fault string, err error)
	Levels func(ctx context.Context) (lines.Standing, error)
	// Bootloader asks the bootloader; board.ErrUnsupported where the system is not updated.
	Bootloader func() (wire.Switch, error)
	// Systemctl runs systemctl with the arguments and returns what it prints.
	Systemctl func(ctx context.Context, args ...string) ([]byte, error)
	// Account finds a user of the system.
	Account func(name string) (uid, gid int, ok bool)
	// Bus tries whether an I2C bus can be opened.
	Bus func(path string) error
	// Step bounds each step towards a broker. 0 is 5 s.
	Step time.Duration
}

// The whole is done within 30 s: brokers share the most of it, and what stands beside them is bounded by itself.
const (
	brokersLimit = 20 * time.Second
	stepLimit    = 5 * time.Second
	localLimit   = 2 * time.Second // a socket or a disk of this machine
)

// examination is one run.
type examination struct {
	o      Options
	now    time.Time
	id     string
	status *agent.Status // of the running agent; nil when none answered
	asked  error         // why not
	checks []Check
}

// Run looks at everything. It returns within 30 s.
func Run(ctx context.Context, o Options) *Report {
	o = withDefaults(o)
	x := &examination{o: o, now: o.Clock.Now()}
	if x.configuration() {
		x.ask(ctx)
		x.identity()
		x.clock()
		x.certificate()
		x.authorities()
		x.brokers(ctx)
		x.storage(ctx)
		x.flash()
		x.board()
		x.slots()
		x.watchdog()
		x.power()
		x.i2c(ctx)
		x.systemd(ctx)
		x.warden(ctx)
		x.lines(ctx)
		x.rules()
		x.model()
		x.playbooks()
		x.bootloader(ctx)
		x.agent()
	} else {
		x.clock()
		for _, name := range []string{"identity", "certificate", "authorities", "dns", "tcp", "tls", "login", "subscribe", "publish",
			"state", "spool", "flash", "board", "slots", "watchdog", "power", "systemd", "warden", "bootloader", "agent"} {
			x.skip(name, "", "because the configuration is wrong")
		}
	}
	r := &Report{Version: o.Version, Device: x.id, Time: x.now.UTC().Truncate(time.Second), OK: true,
		Count: map[Outcome]int{OK: 0, Warn: 0, Fail: 0, Skipped: 0}}
	for _, c := range x.checks {
		r.Count[c.Outcome]++
		r.OK = r.OK && c.Outcome != Fail
		r.Checks = append(r.Checks, c.printable())
	}
	return r
}

func withDefaults(o Options) Options {
	if o.Clock == nil {
		o.Clock = wire.Clock(o.Config)
	}
	if o.Status == nil {
		o.Status = func(ctx context.Context) (agent.Status, error) { return wire.Status(ctx, o.Config) }
	}
	if o.Limits == nil {
		o.Limits = func(ctx context.Context) (map[string]warden.Left, string, error) { return wire.Limits(ctx, o.Config) }
	}
	if o.Levels == nil {
		o.Levels = func(ctx context.Context) (lines.Standing, error) { return wire.Levels(ctx, o.Config) }
	}
	if o.Bootloader == nil {
		o.Bootloader = func() (wire.Switch, error) { return wire.Bootloader(o.Config) }
	}
	if o.Systemctl == nil {
		o.Systemctl = func(ctx context.Context, args ...string) ([]byte, error) {
			return exec.CommandContext(ctx, "systemctl", args...).Output()
		}
	}
	if o.Bus == nil {
		o.Bus = wire.OpenBus
	}
	if o.Account == nil {
		o.Account = account
	}
	if o.Step <= 0 {
		o.Step = stepLimit
	}
	return o
}

func account(name string) (uid, gid int, ok bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, false
	}
	uid, err = strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return uid, gid, err == nil && err2 == nil
}

// add notes a check that was made.
func (x *examination) add(c Check) { x.checks = append(x.checks, c) }

// skip notes one that was not, with the reason.
func (x *examination) skip(name, subject, why string) {
	x.add(Check{Name: name, Subject: subject, Outcome: Skipped, Seen: why})
}

// ask gets the running agent's own view, which other checks lean on.
func (x *examination) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	s, err := x.o.Status(ctx)
	if x.asked = err; err == nil {
		x.status = &s
	}
}

// configuration reports whether there is one to go on with.
func (x *examination) configuration() bool {
	c := Check{Name: "configuration", Outcome: Fail, Hint: "holdfast run --help; the keys are in docs/configuration.md"}
	defer func() { x.add(c) }()
	if err := x.o.ConfigErr; err != nil {
		problems := configProblems(err)
		c.Seen = problems[0].Error()
		if len(problems) > 1 {
			c.Seen = fmt.Sprintf("%d problems", len(problems))
		}
		for i, p := range problems {
			var bad *config.Error
			line := p.Error()
			if errors.As(p, &bad) && bad.Hint != "" {
				line += " (" + bad.Hint + ")"
			}
			if len(problems) > 1 {
				c.Detail = append(c.Detail, line)
			} else if i == 0 {
				c.Seen = line
			}
		}
		c.Hint = "correct " + x.o.File + "; its keys are in docs/configuration.md"
		switch {
		case errors.Is(err, fs.ErrPermission):
			c.Hint = "run it as root: sudo holdfast doctor"
		case errors.Is(err, fs.ErrNotExist):
			c.Hint = "holdfast doctor --config FILE names another; docs/configuration.md has the keys"
		}
		return false
	}
	if len(x.o.Config.Broker.URLs) == 0 {
		c.Seen = x.o.File + ": no broker is named"
		c.Hint = `set urls = ["mqtts://broker.example.com:8883"] in the section [broker] of ` + x.o.File
		return false
	}
	c.Outcome, c.Seen, c.Hint = OK, x.o.File, ""
	if _, err := os.Stat(x.o.File); errors.Is(err, fs.ErrNotExist) {
		c.Seen = "defaults and flags: there is no " + x.o.File
	}
	return true
}

// configProblems takes joined errors apart.
func configProblems(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, configProblems(e)...)
		}
		return out
	}
	return []error{err}
}

func (x *examination) identity() {
	id, named := wire.ID(x.o.Config)
	x.id = id
	switch {
	case id == "":
		x.add(Check{Name: "identity", Outcome: Fail, Seen: "this machine has neither a host name nor a machine id",
			Hint: `set id = "a-name" in ` + x.o.File})
	case named:
		x.add(Check{Name: "identity", Outcome: OK, Seen: id})
	default:
		x.add(Check{Name: "identity", Outcome: OK, Seen: id + ", from the machine's own name"})
	}
}

// plausible is a year that has passed for certain: this was written in it.
const plausible = 2026

func (x *examination) clock() {
	c := Check{Name: "clock", Outcome: OK, Seen: x.now.UTC().Format(time.RFC3339)}
	switch trusted := x.o.Clock.Trusted(); {
	case x.now.Year() < plausible:
		c.Outcome, c.Seen = Fail, c.Seen+", which is in the past"
		c.Hint = "let NTP set the clock (timedatectl set-ntp true, or chronyd), and look whether UDP port 123 gets out"
	case !trusted:
		c.Outcome, c.Seen = Warn, c.Seen+", and nothing keeps it right: readings are marked untrusted"
		c.Hint = "timedatectl set-ntp true, or set clock_vouched = true where a battery-backed clock is right without it"
	case x.o.Config.Vouched:
		c.Seen += ", vouched for by the configuration"
	default:
		c.Seen += ", synchronised"
	}
	x.add(c)
}

// within does f, and gives up on it after the limit: a call into a broken disk or a dead network mount does not return,
// and no context reaches it. What is left behind ends with the program.
func within(ctx context.Context, limit time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
