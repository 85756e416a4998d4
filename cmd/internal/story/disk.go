//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"holdfast/board/loaders"
)

// lossy puts a server between the board and its disk that keeps writes until the board flushes them: a cut loses the rest.
// Without it what the board has written stays, in the page cache of this machine.
func (s *site) lossy(ctx context.Context) error {
	socket := s.path("nbd")
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	log, err := os.Create(s.path("nbdkit.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("nbdkit", "--foreground", "--unix", socket, "--filter=cache", "file", s.path("disk"), "cache=writeback")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.store = cmd
	return s.until(ctx, func() error { _, err := os.Stat(socket); return err })
}

// drive is the -drive of the board's disk.
func (s *site) drive() string {
	if s.store != nil {
		return "format=raw,cache=none,file=nbd+unix:///?socket=" + s.path("nbd")
	}
	return "format=raw,cache=writeback,file=" + s.path("disk")
}

// environment reads a copy of U-Boot's environment from the disk of a board that is off.
func (s *site) environment(number int64) (loaders.Vars, byte, error) {
	f, err := os.Open(s.path("disk"))
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	raw := make([]byte, envBytes)
	if _, err := f.ReadAt(raw, s.at["env"]+number*envBytes); err != nil {
		return nil, 0, err
	}
	return loaders.Decode(raw)
}

// inForce returns which copy of the environment U-Boot takes.
func (s *site) inForce() (int64, error) {
	vars0, flag0, err0 := s.environment(0)
	vars1, flag1, err1 := s.environment(1)
	switch {
	case vars0 == nil && vars1 == nil:
		return 0, fmt.Errorf("no copy of the environment is valid: %w", errors.Join(err0, err1))
	case vars0 == nil, vars1 != nil && loaders.Newer(flag0, flag1) == 1:
		return 1, nil
	}
	return 0, nil
}

// spoil writes over a copy of the environment on the disk of a board that is off.
func (s *site) spoil(number, from int64, with []byte) error {
	f, err := os.OpenFile(s.path("disk"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(with, s.at["env"]+number*envBytes+from)
	return errors.Join(err, f.Close())
}
