package wire

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/actuators/clean"
	"holdfast/actuators/confined"
	"holdfast/actuators/iface"
	"holdfast/cmd/internal/config"
)

// The warden's sandbox has neither the power to delete other users' files nor a network. What wants that is done by this
// program, started anew for one errand with just the power for it.

// What the program's errands are called on its command line.
const (
	CleanErrand = "clean-files"
	CycleErrand = "cycle-interface"
	RaiseErrand = "raise-interface"
)

// cycleDir is below /run, and there as long as an errand that cycles an interface is.
const cycleDir = "holdfast-cycle"

// errand are the limits of each. Go's runtime maps more memory than it uses.
var errand = confined.Limits{Time: 5 * time.Minute, Memory: 256 << 20, Tasks: 32, CPU: 50, Output: 4 << 10}

// Cleanable are the entries of a configuration.
func Cleanable(c config.Config) map[string]clean.Entry {
	entries := map[string]clean.Entry{}
	for name, v := range c.Clean {
		entries[name] = v.Entry()
	}
	return entries
}

// cleaner has an errand delete files. It may delete anybody's, below the entry's directories alone.
func cleaner(r confined.Runner, entries map[string]clean.Entry) clean.Run {
	return func(ctx context.Context, name string, dry bool) ([]byte, error) {
		text, err := json.Marshal(entries[name])
		if err != nil {
			return nil, err
		}
		args := []string{CleanErrand, string(text)}
		if dry {
			args = []string{CleanErrand, "--dry", string(text)}
		}
		return send(ctx, r, confined.Program{Name: "clean", Limits: errand, Powers: confined.Powers{Write: entries[name].Bases(), Tmp: true, Home: true,
			Capabilities: 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_LEASE}}, args, nil)
	}
}

// cycler has an errand take an interface down and up, and another one take it up whatever became of the first.
func cycler(r confined.Runner) iface.Run {
	return func(ctx context.Context, name string) ([]byte, error) {
		limits := errand
		limits.Time = 30 * time.Second
		keep := "/run/" + cycleDir + "/" + name
		return send(ctx, r, confined.Program{Name: "cycle", Limits: limits,
			Powers: confined.Powers{Network: true, Runtime: cycleDir, Tmp: true, Home: true, Capabilities: 1 << unix.CAP_NET_ADMIN}},
			[]string{CycleErrand, name, keep}, []string{RaiseErrand, name, keep})
	}
}

// send runs this program with arguments, and then with those of after, and returns what the first run printed.
func send(ctx context.Context, r confined.Runner, p confined.Program, args, after []string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p.Argv = append([]string{self}, args...)
	if after != nil {
		p.After = append([]string{self}, after...)
	}
	end, err := r.Run(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case end.Why != nil:
		return nil, end.Why
	case end.Code != 0:
		said := strings.ToValidUTF8(strings.TrimSpace(string(end.Output)), "\uFFFD")
		return nil, fmt.Errorf("%s: %.300s", end.Status, said)
	}
	return end.Output, nil
}
