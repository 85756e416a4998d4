package host

import (
	"bytes"
	"context"

	"holdfast/collectors"
)

// Load measures how many tasks want a processor or wait for a disk.
type Load struct {
	Root string // empty is "/"

	r reader
}

// Name is "load".
func (*Load) Name() string { return "load" }

// Collect emits the three averages and the tasks that can run at this instant, the agent's own among them.
func (l *Load) Collect(_ context.Context, emit collectors.Emit) error {
	path := l.Root + "/proc/loadavg"
	b, err := l.r.read(path, smallBytes)
	if err != nil {
		return err
	}
	avg, ok := parseLoad(b)
	if !ok {
		return odd(path, b)
	}
	s := fieldsOf("load", "", 4)
	s.Num("load1", avg.mean[0]).Num("load5", avg.mean[1]).Num("load15", avg.mean[2]).Num("runnable_count", float64(avg.runnable))
	emit(s)
	return nil
}

type loadavg struct {
	mean              [3]float64
	runnable, threads uint64
}

// parseLoad reads "0.30 0.10 0.03 3/107 8002" (proc_loadavg(5)).
func parseLoad(b []byte) (l loadavg, ok bool) {
	for i := range l.mean {
		var w []byte
		w, b = word(b)
		if l.mean[i], ok = decimal(w); !ok {
			return l, false
		}
	}
	w, _ := word(b)
	run, all, _ := bytes.Cut(w, []byte{'/'})
	if l.runnable, ok = whole(run); !ok {
		return l, false
	}
	l.threads, ok = whole(all)
	return l, ok
}
