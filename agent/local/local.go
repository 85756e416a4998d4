// Package local is a driver: the socket on which a running agent answers holdfast status and holdfast doctor.
//
// The protocol is one JSON object a connection: who connects is told the status, and the connection is closed. Nothing is
// read from the other end.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"holdfast/agent"
)

// Name is the socket's, in the run directory.
const Name = "holdfast.sock"

// statusBytes bounds what Ask reads.
const statusBytes = 1 << 20

// A Server answers with the status.
type Server struct {
	Path   string
	Status func(ctx context.Context) (agent.Status, error)
	Log    *slog.Logger
}

// Run listens until ctx ends. A socket left by an agent that was killed is replaced. A place where no socket can be made
// is logged, and is no reason for the agent to end.
func (s *Server) Run(ctx context.Context) error {
	listener, err := s.listen()
	if err != nil {
		s.Log.Warn("status socket", "err", err)
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("status socket: %w", err)
		}
		s.answer(ctx, conn) // one at a time: there is one operator at a board
	}
}

func (s *Server) listen() (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", s.Path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("%s: another agent answers there", s.Path)
	}
	if err := os.Remove(s.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.Listen("unix", s.Path)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(s.Path, 0o660)
}

func (s *Server) answer(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	status, err := s.Status(ctx)
	if err != nil {
		s.Log.Debug("status", "err", err)
		return
	}
	if err := json.NewEncoder(conn).Encode(status); err != nil {
		s.Log.Debug("status", "err", err)
	}
}

// Ask asks the agent that listens at path. An error that is fs.ErrNotExist or a refused connection means that no agent
// runs there.
func Ask(ctx context.Context, path string) (agent.Status, error) {
	var s agent.Status
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return s, fmt.Errorf("ask agent: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if err := json.NewDecoder(io.LimitReader(conn, statusBytes)).Decode(&s); err != nil {
		return s, fmt.Errorf("ask agent: %w", err)
	}
	return s, nil
}
