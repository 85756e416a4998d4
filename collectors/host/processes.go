package host

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// Processes measures how many processes there are and how fast new ones are made.
type Processes struct {
	Root string           // empty is "/"
	Now  func() time.Time // nil is time.Now

	r      reader
	watch  stopwatch
	forks  uint64
	static int // links of /proc that are no process; 0 while not known
	round  int
}

// Name is "processes".
func (*Processes) Name() string { return "processes" }

// Collect emits one sample. The rate of forks is left out of the first.
func (p *Processes) Collect(_ context.Context, emit collectors.Emit) error {
	path := p.Root + "/proc/stat"
	b, err := p.r.read(path, largeBytes)
	if err != nil {
		return err
	}
	st, ok := parseStat(b)
	if !ok {
		return fmt.Errorf("%s: no processes, procs_running and procs_blocked", path)
	}
	s := fieldsOf("processes", "", 5)
	total, err := p.total(p.Root + "/proc")
	if err != nil {
		return err
	}
	s.Num("total_count", float64(total)).Num("running_count", float64(st.running)).Num("blocked_count", float64(st.blocked))
	if b, err := p.r.read(p.Root+"/proc/loadavg", smallBytes); err == nil {
		if l, ok := parseLoad(b); ok {
			s.Num("threads_count", float64(l.threads))
		}
	}
	seconds, timed := p.watch.lap(p.Now)
	if forked, ok := moved(p.forks, st.forks); ok && timed {
		s.Num("forks_per_second", float64(forked)/seconds)
	}
	p.forks = st.forks
	emit(s)
	return nil
}

// recountEvery is how many rounds the number of /proc's own directories is believed. Modules add some.
const recountEvery = 60

// total returns the number of processes. The kernel adds it to the number of links of /proc (proc_root_getattr), which
// also counts those that hidepid and ProtectProc= keep from the agent, and costs a fortieth of reading the directory. So
// the directory is read once to learn how many links are not processes, and again only where the sum does not fit.
func (p *Processes) total(proc string) (int, error) {
	var st unix.Stat_t
	if err := unix.Stat(proc, &st); err != nil {
		return 0, absent("stat", proc, err)
	}
	links := int(st.Nlink)
	if p.round++; p.static > 0 && links > p.static && p.round%recountEvery != 0 {
		return links - p.static, nil
	}
	seen, others, err := p.count(proc)
	if err != nil {
		return 0, err
	}
	p.static = 0
	if links >= 2+others+seen { // "." and ".." are links too; a file system without counts of links fails here
		p.static = 2 + others
		return links - p.static, nil
	}
	return seen, nil
}

// count reads the directory: processes, which have numbers for names, and other directories.
func (p *Processes) count(dir string) (processes, others int, err error) {
	err = p.r.names(dir, func(name []byte, isDir bool) {
		if _, ok := whole(name); ok {
			processes++
		} else if isDir {
			others++
		}
	})
	return processes, others, err
}

// procStat is what this source wants of proc_stat(5).
type procStat struct{ forks, running, blocked uint64 }

func parseStat(b []byte) (st procStat, ok bool) {
	found := 0
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		name, l := word(l)
		var into *uint64
		switch string(name) {
		case "processes":
			into = &st.forks
		case "procs_running":
			into = &st.running
		case "procs_blocked":
			into = &st.blocked
		default:
			continue
		}
		w, _ := word(l)
		n, ok := whole(w)
		if !ok {
			return st, false
		}
		*into = n
		found++
	}
	return st, found == 3
}
