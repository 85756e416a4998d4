package host

import (
	"context"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// Self measures the agent's own process. It asks the running kernel, whatever the root of the other sources: the agent
// is real on a simulated board too.
type Self struct {
	More func() []collectors.Field // what the agent adds: spool_bytes, reconnects_count; may be nil

	r reader
}

// Name is "self".
func (*Self) Name() string { return "self" }

// Collect emits one sample.
func (p *Self) Collect(_ context.Context, emit collectors.Emit) error {
	var more []collectors.Field
	if p.More != nil {
		more = p.More()
	}
	var t tally
	s := fieldsOf("self", "", 4+len(more))
	const statm = "/proc/self/statm"
	b, err := p.r.read(statm, smallBytes)
	if t.count(err); err == nil {
		var pages [2]uint64 // size, resident (proc_pid_statm(5))
		if wholes(b, pages[:]) {
			s.Num("rss_bytes", float64(pages[1])*float64(os.Getpagesize()))
		} else {
			t.count(odd(statm, b))
		}
	}
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err == nil {
		s.Num("cpu_seconds", float64(use.Utime.Nano()+use.Stime.Nano())/1e9)
	}
	s.Num("goroutines_count", float64(runtime.NumGoroutine()))
	n, err := p.descriptors("/proc/self/fd")
	if t.count(err); err == nil {
		s.Num("descriptors_count", float64(n))
	}
	s.Fields = append(s.Fields, more...)
	emit(s)
	if len(t.faults) > 0 {
		return t.verdict()
	}
	return nil
}

// descriptors counts the files the process has open. Since Linux 6.2 that is the size of the directory.
func (p *Self) descriptors(dir string) (n int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, absent("stat", dir, err)
	}
	if st.Size > 0 {
		return int(st.Size), nil
	}
	err = p.r.names(dir, func([]byte, bool) { n++ })
	return n - 1, err // without the one that reads the directory
}
