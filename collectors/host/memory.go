package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/shirou/gopsutil/v3/mem"

	"holdfast/collectors"
)

// Memory measures what is there, what programs could still have, and how long tasks wait for it.
type Memory struct {
	Root string // empty is "/"

	r reader
}

// Name is "memory".
func (*Memory) Name() string { return "memory" }

// Collect emits one sample. The pressure is left out where the kernel does not measure it.
func (m *Memory) Collect(ctx context.Context, emit collectors.Emit) error {
	// Swap is taken from the same file: gopsutil's SwapMemory asks sysinfo(2), which knows no other root.
	v, err := mem.VirtualMemoryWithContext(gopsutil(ctx, m.Root))
	if err != nil {
		return fmt.Errorf("meminfo: %w", err)
	}
	if v.Total == 0 {
		return missing(m.Root+"/proc/meminfo", "no MemTotal")
	}
	total, swap := float64(v.Total), float64(v.SwapTotal)
	available := min(float64(v.Available), total)
	swapUsed := max(swap-float64(v.SwapFree), 0)
	s := fieldsOf("memory", "", 7)
	s.Num("total_bytes", total).Num("available_bytes", available).Num("used_ratio", ratio(total-available, total)).
		Num("swap_total_bytes", swap).Num("swap_used_bytes", swapUsed)
	p, err := readStall(&m.r, m.Root+"/proc/pressure/memory")
	if err == nil {
		s.Num("pressure_some_ratio", p.some).Num("pressure_full_ratio", p.full)
	} else if errors.Is(err, collectors.ErrNoData) {
		err = nil
	}
	emit(s)
	return err
}

// missing is what to say when gopsutil found nothing in a file: it passes over a file it cannot open.
func missing(path, what string) error {
	var r reader
	if _, err := r.read(path, largeBytes); err != nil {
		return err
	}
	return fmt.Errorf("%s: %s", path, what)
}
