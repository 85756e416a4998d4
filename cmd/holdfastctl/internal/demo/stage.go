package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/hub"
)

// A stage is everything the chapters play with.
type stage struct {
	o       Options
	tell    *teller
	broker  string // of the hub itself, as operators reach it
	cable   *cable
	watch   *watcher
	agent   *device
	service *service
	set     settings
	issued  uint64 // commands so far
	bench   *bench // nil before the chapters about updates
	log     *shared

	life context.Context // of hub, cable and repository
	end  context.CancelFunc
	wg   sync.WaitGroup
}

// open puts the stage up: hub, cable, subscriber, and last the agent, so that its first record is counted.
func open(ctx context.Context, o Options) (_ *stage, err error) {
	dir, err := os.MkdirTemp("", "holdfast-demo-")
	if err != nil {
		return nil, err
	}
	level := new(slog.LevelVar)
	words := &shared{out: o.Log}
	log := slog.New(slog.NewTextHandler(words, &slog.HandlerOptions{Level: level}))
	life, end := context.WithCancel(context.Background())
	s := &stage{o: o, tell: &teller{out: o.Out, color: o.Color, json: o.JSON}, life: life, end: end, log: words,
		set: settings{dir: dir, version: o.Version, log: log, level: level}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	address, err := s.startHub(ctx, life)
	if err != nil {
		return nil, err
	}
	s.broker = "mqtt://" + address
	if s.cable, err = lay(address, o.carry); err != nil {
		return nil, err
	}
	s.wg.Go(func() { s.cable.run(life) })
	if s.watch, err = watch(ctx, s.broker, deviceID); err != nil {
		return nil, err
	}
	s.set.broker = "mqtt://" + s.cable.addr()
	s.keep(life)
	if s.agent, err = boot(s.set); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	s.tell.opening(s)
	return s, nil
}

// keep runs the service that the agent looks after.
func (s *stage) keep(life context.Context) {
	s.service = newService(s.o.Leak, filepath.Join(s.set.dir, "groups"), s.log)
	s.wg.Go(func() {
		if err := s.service.run(life); err != nil {
			s.set.log.Error("service", "err", err)
		}
	})
	s.set.service = s.service
}

// startHub runs a broker until life ends, and returns its address.
func (s *stage) startHub(ctx, life context.Context) (address string, err error) {
	ready, failed := make(chan hub.Addrs, 1), make(chan error, 1)
	s.wg.Go(func() {
		o := hub.Options{Listen: "127.0.0.1:0", Log: s.set.log.With("part", "hub")}
		failed <- hub.Run(life, o, func(a hub.Addrs) { ready <- a })
	})
	select {
	case a := <-ready:
		return a.Plain, nil
	case err := <-failed:
		return "", err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// close takes the stage down, from the agent to the hub, and removes its files.
func (s *stage) close() {
	if s.bench != nil {
		s.bench.close()
	}
	if s.agent != nil {
		s.agent.stop()
		<-s.agent.ended
	}
	if s.watch != nil {
		s.watch.mq.Close()
	}
	s.end()
	s.wg.Wait()
	if err := os.RemoveAll(s.set.dir); err != nil {
		s.set.log.Warn("remove files", "err", err)
	}
}

// await reads what the broker delivers until done says so; what names it for the error.
func (s *stage) await(ctx context.Context, what string, done func() bool) error {
	err := s.watch.await(ctx, s.o.Patience, s.agent.ended, done)
	if errors.Is(err, errEnded) {
		return fmt.Errorf("%s: %w: %w", what, err, s.agent.err())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// pass reads what the broker delivers until a time, whatever it is.
func (s *stage) pass(ctx context.Context, until time.Time) error {
	err := s.watch.await(ctx, time.Until(until)+time.Second, s.agent.ended, func() bool { return !time.Now().Before(until) })
	if errors.Is(err, errEnded) {
		return fmt.Errorf("%w: %w", err, s.agent.err())
	}
	return err
}

// operate connects as an operator does, for one deed.
func (s *stage) operate(ctx context.Context, deed func(mq *client.Client) error) error {
	mq, err := client.Dial(ctx, client.Options{Broker: s.broker})
	if err != nil {
		return err
	}
	defer mq.Close()
	return deed(mq)
}

// stay starts the agent again, on its own files, and leaves everything to whoever wants to play until ctx ends.
func (s *stage) stay(ctx context.Context) error {
	s.watch.mq.Close() // it would fill up: nobody reads it any more
	s.watch = nil
	if s.bench != nil {
		s.bench.watch.mq.Close()
		s.bench.watch = nil
	}
	agent, err := boot(s.set)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	s.agent = agent
	s.tell.staying(s.broker)
	select {
	case <-ctx.Done():
		return nil
	case <-agent.ended:
		return fmt.Errorf("%w: %w", errEnded, agent.err())
	}
}

// shared is the log of several, which each write whole lines.
type shared struct {
	mu  sync.Mutex
	out io.Writer
}

// Write implements io.Writer.
func (w *shared) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}
