package confined

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A process is one that descends from this one.
type process struct {
	pid  int
	ours bool // its parent is this process
}

// orphans returns every descendant of this process in another session. Children of other parts stay in our session;
// a script's cannot come back to it (setsid(2), setpgid(2)).
func orphans() ([]process, error) {
	self := os.Getpid()
	session, err := unix.Getsid(0)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	type facts struct{ parent, session int }
	all := make(map[int]facts, len(entries))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, sid, ok := stat(pid); ok {
			all[pid] = facts{parent, sid}
		}
	}
	var left []process
	for pid, f := range all {
		if f.session == session || pid == self {
			continue
		}
		for at, hops := f.parent, 0; at > 0 && hops < len(all); hops++ {
			if at == self {
				left = append(left, process{pid: pid, ours: f.parent == self})
				break
			}
			at = all[at].parent
		}
	}
	return left, nil
}

// stat reads parent and session of a process (proc_pid_stat(5)). Its name can hold anything, a parenthesis too.
func stat(pid int) (parent, session int, ok bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])) // state, ppid, pgrp, session
	if len(fields) < 4 {
		return 0, 0, false
	}
	parent, err1 := strconv.Atoi(fields[1])
	session, err2 := strconv.Atoi(fields[3])
	return parent, session, err1 == nil && err2 == nil
}
