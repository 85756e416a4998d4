package wire

import (
	"log/slog"

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
