package demo

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// A machine is a process that stands for a board, and can lose its power at any moment. It has one owner.
type machine struct {
	argv  []string
	log   io.Writer
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended
	err   error         // why; read it after ended is closed
}

// on gives it power.
func (m *machine) on() error {
	if len(m.argv) == 0 {
		return errors.New("no program for the board is named")
	}
	m.cmd = exec.Command(m.argv[0], m.argv[1:]...)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	m.cmd.WaitDelay = time.Second // a script that outlives it has its output open
	dependent(m.cmd)
	if err := m.cmd.Start(); err != nil {
		m.cmd = nil
		return fmt.Errorf("start the board: %w", err)
	}
	cmd, ended := m.cmd, make(chan struct{})
	m.ended = ended
	go func() {
		defer close(ended)
		m.err = cmd.Wait()
	}()
	return nil
}

// off takes the power away: SIGKILL, which nobody is asked about.
func (m *machine) off() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may have ended already
	<-m.ended
	m.cmd = nil
}
