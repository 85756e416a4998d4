package local_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/agent/local"
)

func serve(t *testing.T, path string, status func(context.Context) (agent.Status, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	s := &local.Server{Path: path, Status: status, Log: slog.New(slog.DiscardHandler)}
	go func() { over <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// ask asks until somebody listens.
func ask(t *testing.T, path string) (agent.Status, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		s, err := local.Ask(ctx, path)
		var refused *net.OpError
		if err == nil || ctx.Err() != nil || !errors.As(err, &refused) {
			return s, err
		}
	}
}

func TestTheStatusIsAnswered(t *testing.T) {
	path := filepath.Join(t.TempDir(), local.Name)
	stale, err := net.Listen("unix", path) // an agent that was killed leaves its socket behind
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	serve(t, path, func(context.Context) (agent.Status, error) {
		return agent.Status{Version: "1.2.3", Problems: map[string]string{"link": "refused"}}, nil
	})
	for range 3 {
		s, err := ask(t, path)
		if err != nil || s.Version != "1.2.3" || s.Problems["link"] != "refused" {
			t.Fatalf("%+v %v", s, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v %v", info.Mode(), err)
	}
	// A second agent leaves the first one's socket alone.
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	second := &local.Server{Path: path, Log: slog.New(slog.DiscardHandler),
		Status: func(context.Context) (agent.Status, error) { return agent.Status{Version: "other"}, nil }}
	go func() { over <- second.Run(ctx) }()
	if s, err := ask(t, path); err != nil || s.Version != "1.2.3" {
		t.Errorf("beside a second agent: %+v %v", s, err)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if s, err := ask(t, path); err != nil || s.Version != "1.2.3" {
		t.Errorf("after the second agent: %+v %v", s, err)
	}
}

func TestNobodyAnswersWhereNoAgentRuns(t *testing.T) {
	if _, err := local.Ask(t.Context(), filepath.Join(t.TempDir(), local.Name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Ask = %v", err)
	}
}

func TestAnAgentThatStopsSaysNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), local.Name)
	serve(t, path, func(context.Context) (agent.Status, error) { return agent.Status{}, errors.New("stopping") })
	if _, err := ask(t, path); err == nil {
		t.Error("an answer from an agent that has none")
	}
}
