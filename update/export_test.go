package update

import (
	"context"
	"time"

	"holdfast/board"
)

// Alone is one turn of Run.
func (e *Engine) Alone(ctx context.Context) time.Duration { return e.alone(ctx) }

// Mutants are the mistakes a test may build in, by name.
var Mutants = map[string]mutant{
	"no sync of the slot": noDataSync, "a segment is noted before it is durable": stateBeforeData, "no look at the slot": noReadBack,
	"one copy of the floor": oneFloor, "the floor rises early": floorEarly, "trusted before the gate": commitBeforeGate,
	"the wrong slot": wrongSlot, "the journal is used again": journalReuse, "told before it is done": toldBeforeDone,
	"a count is forgotten": countForgotten,
}

// WithMutant returns the options with a mistake built in.
func WithMutant(o Options, name string) Options {
	m, ok := Mutants[name]
	if !ok {
		panic("no mutant " + name)
	}
	o.mutant = m
	return o
}

// Floor is what the documents say may not be gone below; an error means that it is lost.
func Floor(files board.Files) (int64, error) {
	f, err := store{files: files, prefix: "system."}.loadFloor()
	return f.Security, err
}

// Raise raises the floor.
func Raise(files board.Files, seq, security int64) error {
	return store{files: files, prefix: "system."}.raise(floor{Seq: seq, Security: security})
}
