package host

import (
	"context"

	"holdfast/collectors"
)

// Uptime measures the time since the kernel started, suspension included.
type Uptime struct {
	Root string // empty is "/"

	r    reader
	told bool
}

// Name is "uptime".
func (*Uptime) Name() string { return "uptime" }

// Collect emits one sample. The first one carries the boot's id, by which two boots are told apart without a clock.
func (u *Uptime) Collect(_ context.Context, emit collectors.Emit) error {
	path := u.Root + "/proc/uptime"
	b, err := u.r.read(path, smallBytes)
	if err != nil {
		return err
	}
	w, _ := word(b)
	seconds, ok := decimal(w)
	if !ok {
		return odd(path, b)
	}
	s := fieldsOf("uptime", "", 2)
	s.Num("uptime_seconds", seconds)
	if !u.told {
		u.told = true
		if id := label(u.Root + "/proc/sys/kernel/random/boot_id"); id != "" {
			s.Str("boot_id", id)
		}
	}
	emit(s)
	return nil
}
