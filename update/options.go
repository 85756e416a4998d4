package update

import (
	"context"
	"log/slog"
	"time"

	"holdfast/board"
)

// Options say what an Engine moves and how. Files, Slots, Boot, Clock, Uptime and Restart are required.
type Options struct {
	Kind   string      // what is moved: "system", "agent" or "content"; it begins the names of its documents
	Files  board.Files // outside the slots, and the engine's alone
	Slots  board.Slots
	Boot   board.Boot
	Clock  board.Clock
	Uptime func() (boot string, up time.Duration) // which start of the machine this is, and how long ago it was

	Device     string    // id, for waves
	Compatible []string  // what this board calls itself; a release must name one of them
	Anchor     []byte    // the root metadata this device was given
	Running    *Release  // what the running image says it is, for a slot that no update of ours filled
	Program    string    // this program's version, for min_agent
	Arch       string    // what programs a release may carry, as GOARCH has it with the ARM version: "armv7"; empty for any
	Whole      bool      // slots are files as long as what is in them: each is erased before it is written
	Built      time.Time // of this program: it is at least as late

	// Restart asks for a restart into the armed slot, or out of one on trial. It returns when that is under way, or why it
	// may not be yet. back is true when it leads out of a system that is no good, which no limit may forbid.
	Restart func(ctx context.Context, back bool) error
	// Units says which watched units are active; nil where there are none.
	Units func(ctx context.Context) map[string]bool
	// Scripts runs the health scripts; nil where there are none. The error says which does not pass.
	Scripts func(ctx context.Context) error
	// Hook runs what somebody wants to have run at an Event. Its error holds up what it comes before, and is told for what
	// it comes after. Nil for none.
	Hook func(ctx context.Context, e Event, s Status) error
	// Supply says why the power supply does not allow an update now; nil for always.
	Supply func() error

	Window   Window
	Settle   time.Duration // how long a system on trial must be in order at a stretch; 0 means 30 s
	Deadline time.Duration // how long after its start it must have been; 0 means 10 min
	BackOff  time.Duration // before the second trial; four times as long before each that follows; 0 means an hour
	Trials   int           // failed ones, after which a release is held; 0 means 3
	Rate     int64         // bytes of patches a second; 0 for no limit
	Slice    time.Duration // how long one Advance works on the slot before it lets others speak; 0 means 10 s

	Log *slog.Logger // nil for none

	mutant mutant
}

// An Event is what hooks are told of.
type Event string

// The events.
const (
	BeforeDownload Event = "before-download" // a release was verified, and nothing is written yet
	BeforeArm      Event = "before-arm"      // the other slot is whole, and the machine is about to be restarted into it
	AfterCommit    Event = "after-commit"
	AfterRollBack  Event = "after-rollback" // the old system runs again
	OnProgress     Event = "progress"       // now and then while a slot is written
)

func (o Options) orDefaults() Options {
	o = o.misled()
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&o.Settle, 30*time.Second)
	set(&o.Deadline, 10*time.Minute)
	set(&o.BackOff, time.Hour)
	set(&o.Slice, 10*time.Second)
	if o.Trials <= 0 {
		o.Trials = 3
	}
	if o.Kind == "" {
		o.Kind = "system"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
