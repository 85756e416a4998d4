package demo

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// serviceName is the unit that the demo has the agent look after.
const serviceName = "counter.service"

// A service is a program that is kept running, as systemd keeps a unit: it tells how it does, and starts it again when asked. Its
// memory is told as a control group would, in a file. Everything of it belongs to run.
type service struct {
	argv   []string
	groups string // the directory of control groups
	log    io.Writer

	restarts chan chan error        // unbuffered: who asks waits
	looks    chan chan serviceState // likewise
	spoil    chan struct{}          // begins a leak
	gone     chan struct{}          // closed when run has returned

	cmd     *exec.Cmd
	ended   chan struct{}
	since   time.Time
	started int // processes so far
}

// A serviceState is how the service does.
type serviceState struct {
	running bool
	since   time.Duration
	pid     int
	started int
}

func newService(argv []string, dir string, log io.Writer) *service {
	return &service{argv: argv, groups: dir, log: log, restarts: make(chan chan error), looks: make(chan chan serviceState), spoil: make(chan struct{}),
		gone: make(chan struct{})}
}

// run keeps the program running until ctx ends.
func (s *service) run(ctx context.Context) error {
	defer close(s.gone)
	if err := s.start(); err != nil {
		return err
	}
	defer s.stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ended:
			return fmt.Errorf("%s has ended by itself: %s", serviceName, s.cmd.ProcessState)
		case answer := <-s.restarts:
			s.stop()
			answer <- s.start()
		case answer := <-s.looks:
			answer <- serviceState{running: true, since: time.Since(s.since), pid: s.cmd.Process.Pid, started: s.started}
		case <-s.spoil:
			_ = s.cmd.Process.Signal(leakSignal) // one that has ended is noticed above
		}
	}
}

func (s *service) start() error {
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	dependent(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", serviceName, err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // its error is in cmd.ProcessState
	s.cmd, s.ended, s.since = cmd, ended, time.Now()
	s.started++
	return nil
}

func (s *service) stop() {
	_ = s.cmd.Process.Kill() // it may have ended already
	<-s.ended
}

// look returns how the service does; false when nobody looks after it any more.
func (s *service) look(ctx context.Context) (serviceState, bool) {
	answer := make(chan serviceState, 1)
	select {
	case s.looks <- answer:
		return <-answer, true
	case <-s.gone:
	case <-ctx.Done():
	}
	return serviceState{}, false
}

// leak has the program take memory without end.
func (s *service) leak(ctx context.Context) {
	select {
	case s.spoil <- struct{}{}:
	case <-s.gone:
	case <-ctx.Done():
	}
}
