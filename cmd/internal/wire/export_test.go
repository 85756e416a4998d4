package wire

import (
	"holdfast/board"
	"holdfast/board/linux"
)

// LaunchReset is why the last start of the agent came about.
func LaunchReset(dir string, l *linux.Links) board.Reset {
	f, err := launches{l, dir}.Facts()
	if err != nil {
		panic(err)
	}
	return f.Reset
}
