package wire

import (
	"context"
	"log/slog"
	"sync"

	"holdfast/agent"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
)

// LaunchReset is why the last start of the agent came about.
func LaunchReset(dir string, l *linux.Links) board.Reset {
	f, err := launches{l, dir}.Facts()
	if err != nil {
		panic(err)
	}
	return f.Reset
}

// Place fills in where the slots are.
func Place(c *config.Config) error { return place(c, slog.New(slog.DiscardHandler)) }

// Crashes asks a warden in this process for what the kernel left of its crashes.
func Crashes(ctx context.Context, c config.Config) ([]board.Crash, error) {
	client, serve, err := ask(Options{Config: c, Single: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { _ = serve(ctx) })
	defer serving.Wait()
	defer stop()
	return crashed(client)(ctx)
}

// Asking returns a client of a warden in this process, and what ends it.
func Asking(ctx context.Context, c config.Config, supply board.Power) (client *warden.Client, end func(), err error) {
	client, serve, err := ask(Options{Config: c, Single: true, Power: supply, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() { _ = serve(ctx) })
	return client, func() { stop(); serving.Wait() }, nil
}

// Repairing is how an agent asks a warden.
func Repairing(c config.Config, client *warden.Client) *agent.Repairs {
	return repairs(Options{Config: c}, client, func() config.Config { return c })
}
