// Package lines is a driver: it stands between the process that owns the GPIO lines and the agent, which has none.
//
// A Desk answers for the lines in the process that owns them, by verbs; a Client makes board.Lines of what the verbs say, in
// the process that asks. How a verb gets from one to the other is the business of whoever puts them together.
//
//	lines.levels  how every line stands
//	lines.edges   what inputs did since the last time; waits when they did nothing
//	lines.beat    the agent's core loop goes round; without it outputs are driven to their safe levels
package lines

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"holdfast/actuators"
	"holdfast/board/strict"
)

// The verbs.
const (
	levelsVerb = "lines.levels"
	edgesVerb  = "lines.edges"
	beatVerb   = "lines.beat"
)

// How beats are given and missed: three may be lost before the outputs go to their safe levels.
const (
	BeatEvery = 500 * time.Millisecond
	Silence   = 1500 * time.Millisecond
)

// A Level is how one line stands.
type Level struct {
	Output bool   `json:"output,omitempty"`
	High   bool   `json:"high"`
	Error  string `json:"error,omitempty"` // why it cannot be read, or does not obey; High is then of before
	Safe   bool   `json:"safe,omitempty"`  // an output at its safe level, and not set since
	Count  uint64 `json:"count,omitempty"` // changes of an output, edges of an input that tells them
	// Of an input those of Count that led to high and to low. The others were lost: the kernel could not hold them.
	Rising  uint64  `json:"rising,omitempty"`
	Falling uint64  `json:"falling,omitempty"`
	Left    float64 `json:"seconds_left,omitempty"` // of a pulse, or of the longest time on
}

// A Standing is how all of them stand.
type Standing struct {
	Start    string           `json:"start"`                    // another one after each start of the process
	Resets   uint64           `json:"resets"`                   // grows when outputs were brought to initial or safe levels
	Silent   bool             `json:"silent,omitempty"`         // no beats come, so the outputs are safe
	Seconds  float64          `json:"silent_seconds,omitempty"` // for how long
	Silences uint64           `json:"silences,omitempty"`       // how often that happened
	Lines    map[string]Level `json:"lines"`
}

// edge is one edge as the verb tells it, or with an error the end of them.
type edge struct {
	Line  string `json:"line"`
	High  bool   `json:"high,omitempty"`
	At    int64  `json:"at_us,omitempty"` // CLOCK_MONOTONIC, in microseconds: nanoseconds of some months are too many for a JSON number
	Seq   uint64 `json:"seq,omitempty"`   // of the line
	Error string `json:"error,omitempty"` // why the line cannot be watched any more
}

// edgesSaid is what lines.edges answers.
type edgesSaid struct {
	Start string `json:"start"`
	Next  uint64 `json:"next"`           // to be given as after the next time
	Lost  uint64 `json:"lost,omitempty"` // edges that nobody asked for in time
	Edges []edge `json:"edges,omitempty"`
	// For who is new: how many edges each line has had, and which cannot be watched now.
	Counts map[string]uint64 `json:"counts,omitempty"`
	Faults map[string]string `json:"faults,omitempty"`
}

// edgesParams are what lines.edges takes.
func edgesParams() []actuators.Param {
	return []actuators.Param{
		{Name: "start", Kind: actuators.Text, Max: 64, Help: "which process next was from; empty for what is still to come"},
		{Name: "after", Kind: actuators.Number, Max: 1 << 53, Help: "next, of the answer before"},
		{Name: "wait", Kind: actuators.Number, Max: longestWait.Seconds(), Help: "how many seconds to wait for an edge"},
	}
}

const (
	longestWait = 30 * time.Second
	edgesTold   = 100 // edges in one answer
)

// An Asker has a verb done in the process that owns the lines. warden.Client is one.
type Asker interface {
	Do(ctx context.Context, verb string, args actuators.Args, reason string) (actuators.Result, error)
}

// learn has a verb done and reads what it says.
func learn(ctx context.Context, ask Asker, verb string, args actuators.Args, said any) error {
	result, err := ask.Do(ctx, verb, args, "")
	if err != nil {
		return err
	}
	text, err := json.Marshal(result)
	if err == nil {
		err = strict.Unmarshal(text, said, strict.Limits{Bytes: 64 << 10, Depth: 4, Members: 4096, AllowUnknown: true})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// Ask returns how the lines of a process stand.
func Ask(ctx context.Context, ask Asker) (Standing, error) {
	var s Standing
	err := learn(ctx, ask, levelsVerb, nil, &s)
	return s, err
}
