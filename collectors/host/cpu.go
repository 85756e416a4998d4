package host

import (
	"context"
	"fmt"

	"github.com/shirou/gopsutil/v3/cpu"

	"holdfast/collectors"
)

// CPU measures how the processors spend their time between two rounds. The first round says nothing.
//
// The whole is the sum of the cores that were there in both rounds: the kernel's own sum still holds the time of cores
// that have been switched off.
type CPU struct {
	Root    string // empty is "/"
	PerCore bool   // one more sample for each core, Instance "cpu0"

	last []cpu.TimesStat
}

// Name is "cpu".
func (*CPU) Name() string { return "cpu" }

// Collect emits the shares since the last round, all between 0 and 1.
func (c *CPU) Collect(ctx context.Context, emit collectors.Emit) error {
	now, err := cpu.TimesWithContext(gopsutil(ctx, c.Root), true)
	if err != nil {
		return fmt.Errorf("cpu times: %w", err)
	}
	if len(now) == 0 {
		// gopsutil says nothing in either case.
		return missing(c.Root+"/proc/stat", "no line of a core")
	}
	last := c.last
	c.last = now
	if last == nil {
		return nil
	}
	var sum shares
	for i := range now {
		before := sameCore(last, i, now[i].CPU)
		if before == nil {
			continue
		}
		s := spent(before, &now[i])
		sum.add(s)
		if c.PerCore && i < maxInstances && s.total > 0 {
			sample := fieldsOf("cpu", now[i].CPU, 5)
			s.fields(&sample)
			emit(sample)
		}
	}
	if !(sum.total > 0) { // two rounds within one tick of the kernel
		return nil
	}
	sample := fieldsOf("cpu", "", 6)
	sum.fields(&sample)
	sample.Num("count", float64(len(now)))
	emit(sample)
	return nil
}

// sameCore finds the core in the earlier round, in its old place unless cores came or went.
func sameCore(last []cpu.TimesStat, i int, name string) *cpu.TimesStat {
	if i < len(last) && last[i].CPU == name {
		return &last[i]
	}
	for j := range last {
		if last[j].CPU == name {
			return &last[j]
		}
	}
	return nil
}

// shares are seconds of one interval. The time of guests is part of the user time.
type shares struct{ user, system, iowait, steal, total float64 }

func spent(a, b *cpu.TimesStat) shares {
	// On tickless kernels idle and iowait may step back; a step back counts as none.
	up := func(a, b float64) float64 {
		if d := b - a; d > 0 {
			return d
		}
		return 0
	}
	s := shares{
		user:   up(a.User, b.User) + up(a.Nice, b.Nice),
		system: up(a.System, b.System) + up(a.Irq, b.Irq) + up(a.Softirq, b.Softirq),
		iowait: up(a.Iowait, b.Iowait),
		steal:  up(a.Steal, b.Steal),
	}
	s.total = s.user + s.system + s.iowait + s.steal + up(a.Idle, b.Idle)
	return s
}

func (s *shares) add(o shares) {
	s.user += o.user
	s.system += o.system
	s.iowait += o.iowait
	s.steal += o.steal
	s.total += o.total
}

func (s *shares) fields(sample *collectors.Sample) {
	sample.Num("busy_ratio", ratio(s.user+s.system+s.steal, s.total)).
		Num("user_ratio", ratio(s.user, s.total)).
		Num("system_ratio", ratio(s.system, s.total)).
		Num("iowait_ratio", ratio(s.iowait, s.total)).
		Num("steal_ratio", ratio(s.steal, s.total))
}
