package warden

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"holdfast/actuators"
)

// ServerOptions say what a Server does, and for whom.
type ServerOptions struct {
	Set     *actuators.Set     // required
	Limiter *actuators.Limiter // the set's, for those who ask what is left; nil when it has none
	UIDs    []int              // who may ask over a Unix socket, besides root
	Log     *slog.Logger       // nil for none
	// Idle ends Serve after that long without a connection, so that a socket-activated warden takes no memory. 0: never.
	Idle time.Duration
	// Conns is how many connections are served at once, 1 to 64; 0 means 8. More are told that the server is busy.
	Conns int
	// Deed bounds one deed, whatever the caller asks for; 0 means 30 minutes.
	Deed time.Duration
	// Aside bounds a deed beside others, which may wait for a slow link; 0 means 6 hours.
	Aside time.Duration
	// Busy says that there is work that nobody asks for: an idle server stays. Nil: never.
	Busy func() bool
	// Stall bounds the wait for a request, and for each frame of a stream; 0 means 30 s.
	Stall time.Duration
}

// A Server does deeds for its callers, one at a time.
type Server struct {
	o    ServerOptions
	turn chan struct{} // one slot: the set and its limiter have one owner, who does one deed at a time
}

// NewServer returns a server that does what o.Set allows.
func NewServer(o ServerOptions) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Conns <= 0 {
		o.Conns = 8
	}
	o.Conns = min(o.Conns, 64)
	if o.Deed <= 0 {
		o.Deed = 30 * time.Minute
	}
	if o.Aside <= 0 {
		o.Aside = 6 * time.Hour
	}
	if o.Busy == nil {
		o.Busy = func() bool { return false }
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Second
	}
	return &Server{o: o, turn: make(chan struct{}, 1)}
}

// Serve takes connections from ln until ctx ends, or until it was idle for so long, and returns nil after every deed
// has ended. Another error is the listener's. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	var served sync.WaitGroup
	defer served.Wait()
	defer stop()
	defer ln.Close()
	conns, ends, failure := make(chan net.Conn), make(chan struct{}), make(chan error, 1)
	served.Go(func() { failure <- accept(ctx, ln, conns) })
	idle := time.NewTimer(s.o.Idle)
	defer idle.Stop()
	active := 0
	for {
		var idled <-chan time.Time
		if active == 0 && s.o.Idle > 0 {
			idle.Reset(s.o.Idle)
			idled = idle.C
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failure:
			return err
		case <-idled:
			if s.o.Busy() {
				continue
			}
			s.o.Log.Debug("idle, so it ends")
			return nil
		case <-ends:
			active--
		case conn := <-conns:
			if err := s.admit(conn, active); err != nil {
				s.o.Log.Warn("refused a caller", "err", err)
				continue
			}
			active++
			served.Go(func() {
				switch err := s.serve(ctx, conn); {
				case errors.Is(err, errHungUp):
					s.o.Log.Info("a caller did not wait for its deed", "err", err)
				case err != nil:
					s.o.Log.Warn("hung up on a caller", "err", err)
				}
				select {
				case ends <- struct{}{}:
				case <-ctx.Done():
				}
			})
		}
	}
}

// accept hands connections over until the listener is closed.
func accept(ctx context.Context, ln net.Listener, conns chan<- net.Conn) error {
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOMEM),
			errors.Is(err, syscall.ECONNABORTED):
			pause := time.NewTimer(100 * time.Millisecond)
			select {
			case <-pause.C:
				continue
			case <-ctx.Done():
				return nil
			}
		default:
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case conns <- conn:
		case <-ctx.Done():
			conn.Close() // before hello: the caller knows that nothing was done
			return nil
		}
	}
}

// admit returns nil if conn is to be served, and otherwise has told its other end why not.
func (s *Server) admit(conn net.Conn, active int) error {
	err := s.known(conn)
	if err == nil && active >= s.o.Conns {
		err = ErrBusy
	}
	if err != nil {
		w := &wire{conn: conn}
		_ = w.tell(helloFrame, hello{Protocol: protocol, Code: codeOf(err)}) // fits the socket's buffer, or is not wanted
		conn.Close()
	}
	return err
}

// ServeConn serves one connection until its other end closes it, ctx ends, or a frame is not in order, and closes it.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) error {
	if err := s.admit(conn, 0); err != nil {
		return err
	}
	return s.serve(ctx, conn)
}
