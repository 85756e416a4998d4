//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// simulated finds where the kernel's simulated lines are pulled and looked at: what is outside of a real board.
const simulated = `c=/sys/kernel/config/gpio-sim/field; d=/sys/devices/platform/$(cat $c/dev_name)/$(cat $c/bank/chip_name)
`

// lines is the part of step 1 about GPIO.
func (s *site) lines(ctx context.Context) error {
	from := s.heard.count()
	_, err := s.in(ctx, simulated+`echo pull-up >$d/sim_gpio0/pull`)
	if err == nil {
		err = s.hears(ctx, from, "telemetry", `"gpio_edge"`, `"door"`, `"high":true`)
	}
	s.t.check("the door's line is pulled up from outside: its edge is on the broker", err)
	_, err = s.ctl(ctx, "command", id, "relay.set", "name=pump", "on=true")
	if err == nil {
		err = s.pumpIs(ctx, "1")
	}
	if !s.t.check("holdfastctl switches the pump on: its line is high, seen from outside", err) {
		return nil // the rest would prove nothing
	}
	out, err := s.in(ctx, simulated+`now() { cut -d' ' -f1 /proc/uptime; }
kill -KILL $(systemctl show -p MainPID --value holdfast); now
while [ $(cat $d/sim_gpio1/value) = 1 ]; do sleep 0.05; done; now`)
	s.t.check("the agent is killed: the pump's line goes low", err)
	if at := strings.Fields(out); err == nil && len(at) == 2 {
		s.t.note("killed at %s s, low at %s s of the board's time (promised: 2 s later)", at[0], at[1])
	}
	s.t.check("another agent is on the broker", s.hears(ctx, s.heard.count(), "telemetry", `"cpu"`))
	return s.edges(ctx)
}

func (s *site) pumpIs(ctx context.Context, want string) error {
	return s.until(ctx, func() error {
		got, err := s.in(ctx, simulated+`cat $d/sim_gpio1/value`)
		if err == nil && got != want {
			err = errors.New("it is " + got)
		}
		return err
	})
}

// edges pulls the door's line up and down, 200 times a second or as near to that as an emulated shell comes. The kernel tells
// edges of a simulated line from a thread, and those that come before it runs are one, which nobody after it can see: who pulls
// shares a processor with it, where it goes first.
func (s *site) edges(ctx context.Context) error {
	const n = 2000
	before := 0
	err := s.until(ctx, func() (err error) { // the agent has just started, and may not have read the line yet
		before, err = s.edgesCounted(ctx)
		return err
	})
	if err != nil {
		return err
	}
	out, err := s.in(ctx, fmt.Sprintf(simulated+`cd $d/sim_gpio0; mkfifo /tmp/never; exec 9<>/tmp/never
threads=0; for p in /proc/[0-9]*; do case $(cat $p/comm 2>/dev/null) in irq/*holdfast*) taskset -cp 0 ${p#/proc/} >/dev/null && threads=$((threads+1));; esac; done
taskset -cp 0 $BASHPID >/dev/null; echo $threads
cut -d' ' -f1 /proc/uptime
i=0; while [ $i -lt %d ]; do for e in down up down up; do echo pull-$e >pull; done; read -t 0.002 <&9; i=$((i+4)); done
cut -d' ' -f1 /proc/uptime`, n))
	if err != nil {
		return err
	}
	var first, last float64
	threads := 0
	if _, err := fmt.Sscan(out, &threads, &first, &last); err != nil || threads != 1 {
		return fmt.Errorf("guest says %q: %d threads tell the door's edges, %v", out, threads, err)
	}
	counted := 0
	err = s.until(ctx, func() error {
		now, err := s.edgesCounted(ctx)
		if counted = now - before; err == nil && counted != n {
			err = fmt.Errorf("%d are counted", counted)
		}
		return err
	})
	s.t.check(fmt.Sprintf("%d edges at %.0f a second: %d are counted", n, n/(last-first), counted), err)
	return nil
}

// edgesCounted returns the newest count of the door's edges that the broker has.
func (s *site) edgesCounted(ctx context.Context) (int, error) {
	out, err := s.ctl(ctx, "command", id, "sample", "source=gpio", "--json")
	if err != nil {
		return 0, err
	}
	i := strings.Index(out, `"edges_count":`)
	if i < 0 {
		return 0, fmt.Errorf("no door in %.300s", out)
	}
	var n json.Number
	if err := json.NewDecoder(strings.NewReader(out[i+len(`"edges_count":`):])).Decode(&n); err != nil {
		return 0, err
	}
	count, err := n.Int64()
	return int(count), err
}
