package wire

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"

	"holdfast/actuators"
	"holdfast/board"
	"holdfast/cmd/internal/config"
	"holdfast/collectors"
	"holdfast/collectors/journal"
)

// cursorName is the file that remembers how far the log was read.
const cursorName = "journal.cursor"

// follow makes the stream of log records. Its cursor is kept with the board's files, at most once a minute.
func follow(c config.Config, b *board.Board) collectors.Stream {
	const cursorBytes = 512
	return journal.New(journal.Config{
		Clock:  b.Clock,
		Filter: journal.Filter{Units: c.Journal.Units, Priority: max(slices.Index(config.Priorities(), c.Journal.Priority), 1)},
		Lines:  max(c.Journal.LinesPerMinute/60, 1), Bytes: int(c.Journal.LineBytes),
		Load: func() (string, error) {
			text, err := b.Files.ReadFile(cursorName, cursorBytes)
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return string(text), err
		},
		Save: func(cursor string) error { return b.Files.WriteFile(cursorName, []byte(cursor)) },
	})
}

// tail is the command that answers with the end of a unit's log.
func tail() actuators.Verb {
	const defaultLines, defaultPriority = 20, 6
	return actuators.Verb{
		Name: "log.tail", Help: "answer with the end of a unit's log",
		Params: []actuators.Param{
			{Name: "unit", Kind: actuators.Text, Required: true, Max: 200, Help: "which unit"},
			{Name: "lines", Kind: actuators.Number, Min: 1, Max: journal.TailLines, Help: "how many lines, 20"},
			{Name: "priority", Kind: actuators.Text, Choices: config.Priorities(), Help: "of this priority or worse, info"},
		},
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			lines, priority := int(args.Number("lines")), slices.Index(config.Priorities(), args.Text("priority"))
			if lines == 0 {
				lines = defaultLines
			}
			if priority < 0 {
				priority = defaultPriority
			}
			entries, err := journal.Program(nil).Tail(ctx, args.Text("unit"), lines, priority)
			if err != nil {
				return nil, err
			}
			return actuators.Result{"entries": entries}, nil
		},
	}
}

// warn logs an error that changes nothing else.
func warn(log *slog.Logger, what string, err error) {
	if err != nil {
		log.Warn(what, "err", err)
	}
}
