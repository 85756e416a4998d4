package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"holdfast/cmd/internal/wire"
)

var _ wire.Keeper = (*service)(nil)

// Restart implements wire.Keeper.
func (s *service) Restart(ctx context.Context, _ string) (string, wire.UnitAfter, error) {
	answer := make(chan error, 1)
	select {
	case s.restarts <- answer:
		return "done", wire.UnitAfter{Active: "active", Sub: "running", Result: "success"}, <-answer
	case <-s.gone:
		return "failed", wire.UnitAfter{}, nil
	case <-ctx.Done():
		return "", wire.UnitAfter{}, context.Cause(ctx)
	}
}

// States implements wire.Keeper, and writes what a control group would say.
func (s *service) States(ctx context.Context, names []string) ([]wire.UnitState, error) {
	states := make([]wire.UnitState, len(names))
	for i, name := range names {
		states[i] = wire.UnitState{Load: "not-found", Active: "inactive", Sub: "dead", Restarts: -1, Since: -1}
		if name != serviceName {
			continue
		}
		now, ok := s.look(ctx)
		if !ok {
			continue
		}
		states[i] = wire.UnitState{Load: "loaded", Active: "active", Sub: "running", Since: now.since, Group: "/" + serviceName}
		if err := s.account(now.pid); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// account writes the resident memory of the process to where a control group has it (cgroup-v2.rst, memory.current).
func (s *service) account(pid int) error {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)) // proc(5): the second number is resident pages
	if err != nil {
		return err
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return fmt.Errorf("/proc/%d/statm: %q", pid, statm)
	}
	pages, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return err
	}
	dir := filepath.Join(s.groups, serviceName)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{"memory.current": strconv.Itoa(pages * os.Getpagesize()), "pids.current": "1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Close implements wire.Keeper: there is no connection.
func (s *service) Close() {}
