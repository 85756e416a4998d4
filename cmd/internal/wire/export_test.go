package wire

import (
	"context"
	"log/slog"
	"sync"

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
	var warden sync.WaitGroup
	warden.Go(func() { _ = serve(ctx) })
	defer warden.Wait()
	defer stop()
	return crashed(client)(ctx)
}
