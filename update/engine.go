package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"holdfast/board"
	"holdfast/update/bsdiff"
	"holdfast/update/trust"
)

// An Engine runs jobs one at a time. Its methods may be called from several goroutines; all but Status, Pause and Cancel
// wait for one another.
type Engine struct {
	o     Options
	store store
	turn  chan struct{} // one slot: whoever holds it owns what follows
	j     Journal
	facts board.BootFacts
	sure  bool // of the facts: nothing was changed since

	fault    error // what of the documents could not be read, for the status
	client   *trust.Client
	manifest *Manifest
	raw      []byte // of the manifest, until it is kept
	health   *Health
	good     time.Time         // since when the system on trial is in order
	asked    time.Time         // when the health scripts ran last
	veto     error             // what they said
	damaged  int               // bad streams in a row
	found    map[string]string // by part, what the running slot was found to hold
	pace     pace
	applier  bsdiff.Applier
	progress progress
	kept     bool // the bootloader was told that this start went well
	fresh    bool // nothing was done yet in this process

	status  atomic.Pointer[Status]
	working atomic.Pointer[context.CancelCauseFunc] // of the Advance under way
}

// New opens the engine's documents. What of them is damaged is told by Status, and does not keep it from starting: a
// device that cannot read its journal must still be able to fall back.
func New(o Options) (*Engine, error) {
	if o.Files == nil || o.Slots == nil || o.Boot == nil || o.Clock == nil || o.Uptime == nil || o.Restart == nil {
		return nil, errors.New("update: needs files, slots, a bootloader, a clock and somebody who restarts")
	}
	o = o.orDefaults()
	e := &Engine{o: o, store: store{o.Files, o.Kind + ".", o.mutant == oneFloor}, turn: make(chan struct{}, 1), fresh: true,
		found: map[string]string{}}
	e.pace = pace{clock: o.Clock, rate: o.Rate}
	var err error
	if e.j, err = e.store.loadJournal(); err != nil {
		e.fault = err
		o.Log.Error("the journal of updates is damaged; the bootloader and the trial decide", "err", err)
	}
	if e.facts, err = o.Boot.Facts(); err != nil {
		e.fault = errors.Join(e.fault, err)
	}
	e.publish()
	return e, nil
}

// own takes the turn, and returns what gives it back.
func (e *Engine) own(ctx context.Context) (release func(), err error) {
	select {
	case e.turn <- struct{}{}:
		return func() { e.publish(); <-e.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// save writes the journal before anything is done on its word.
func (e *Engine) save(j Journal) error {
	if err := e.store.write("journal", j); err != nil {
		return err
	}
	if j.Phase != e.j.Phase {
		e.o.Log.Info("update", "phase", j.Phase, "job", j.Job.ID, "release", j.Job.Release)
	}
	e.j = j
	e.publish()
	return nil
}

// Accept takes a job on. One that is running, or was the last, is taken as told again; one of a higher priority, or a
// newer one, takes the place of one that is not armed yet. Whether the release may run here is found out by Advance.
func (e *Engine) Accept(ctx context.Context, job Job) error {
	if err := job.valid(); err != nil {
		return err
	}
	release, err := e.own(ctx)
	if err != nil {
		return err
	}
	defer release()
	switch {
	case e.j.Phase != Idle && e.j.Job.ID == job.ID, e.j.Phase == Idle && e.j.Last != nil && e.j.Last.Job == job.ID:
		return nil
	case e.over(job.ID): // brokers keep a job, and give it again at each connection, also after one that was given at the board
		return nil
	case e.j.Phase == Arming:
		return fmt.Errorf("update %s: busy with %s, which is on trial", job.ID, e.j.Job.ID)
	case e.j.Phase != Idle && job.Priority < e.j.Job.Priority:
		return fmt.Errorf("update %s: busy with %s, which has a higher priority", job.ID, e.j.Job.ID)
	case e.j.Phase != Idle:
		if err := e.end(Canceled, refuse("superseded", fmt.Errorf("%s took its place", job.ID))); err != nil {
			return err
		}
	}
	return e.begin(job)
}

// over reports whether a job of this id is in the history. One that cannot be read is damaged, and no reason to refuse.
func (e *Engine) over(id string) bool {
	var h history
	_, _ = e.store.read("history", recordsBytes, &h)
	return slices.ContainsFunc(h.Outcomes, func(o Outcome) bool { return o.Job == id })
}

func (e *Engine) begin(job Job) error {
	e.forget()
	if e.o.mutant == journalReuse {
		j := e.j
		j.Phase, j.Job = Checking, job
		return e.save(j)
	}
	return e.save(Journal{Phase: Checking, Job: job, Began: e.o.Clock.Now().UTC().Round(time.Second), Trusted: e.o.Clock.Trusted(), Last: e.j.Last})
}

// forget drops what was held in memory for the job before.
func (e *Engine) forget() {
	e.client, e.manifest, e.raw, e.good, e.damaged = nil, nil, nil, time.Time{}, 0
	e.progress, e.found, e.applier = progress{}, map[string]string{}, bsdiff.Applier{}
}

func (j Job) valid() error {
	if j.ID == "" || len(j.ID) > 64 || len(j.Repository) > 512 || j.Priority < -1000 || j.Priority > 1000 {
		return fmt.Errorf("job %.70q: wants an id of 1 to 64 bytes, a repository of at most 512, a priority from -1000 to 1000", j.ID)
	}
	if _, err := ParseWindow(j.Window); err != nil {
		return fmt.Errorf("job %s: %w", j.ID, err)
	}
	if err := CheckRelease(j.Release); err != nil {
		return fmt.Errorf("job %s: %w", j.ID, err)
	}
	return nil
}

// A Stream is a file that somebody brings: who reads it decides what of it is fetched.
// Several may be read at the same time, one of them by one reader alone.
type Stream struct {
	io.ReaderAt
	Bytes int64 // its length, or the most it may have
}

// An Offer is what is brought: what the last Want asked for, by name, and how the system is.
type Offer struct {
	Files  map[string]Stream
	Absent string  // the repository has no such file
	Health *Health // nil when the agent has nothing to say
}

// A Want is what the engine needs to go on.
type Want struct {
	Metadata string        // a small file, whole
	Most     int64         // its greatest length
	Patch    *File         // both: ranges of them
	Full     *File         //
	Health   bool          // how the system is
	Wait     time.Duration // nothing before that, unless something changes
	Done     bool          // there is nothing to do
}

// A File is one file of the repository.
type File struct {
	Name  string
	Bytes int64
}

// Advance does what can be done with what is offered, and returns what is needed next. It works for about one slice.
// An error says what went wrong with what was brought, or with the machine: the job goes on, and Advance may be asked
// again after a while. What ends a job is in Status.
func (e *Engine) Advance(ctx context.Context, offer Offer) (Want, error) {
	release, err := e.own(ctx)
	if err != nil {
		return Want{}, err
	}
	defer release()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	e.working.Store(&stop)
	defer e.working.Store(nil)
	if offer.Health != nil {
		if err := offer.Health.valid(); err != nil {
			return Want{}, err
		}
		e.health = offer.Health
	}
	want, err := e.steps(ctx, offer, e.o.Clock.Now().Add(e.o.Slice))
	if err != nil && errors.Is(context.Cause(ctx), errStopped) { // nothing went wrong: it is somebody else's turn
		return Want{Wait: time.Second}, nil
	}
	return want, err
}

// steps does one step after the other until one needs something.
func (e *Engine) steps(ctx context.Context, offer Offer, until time.Time) (Want, error) {
	for {
		if err := e.ask(); err != nil {
			return Want{Wait: time.Minute}, err
		}
		step := Next(e.j, e.facts)
		e.o.Log.Debug("update", "step", step, "phase", e.j.Phase, "booted", e.facts.Booted, "next", e.facts.Next)
		var err error
		var want Want
		switch step {
		case Wait:
			return Want{Done: true}, e.keep()
		case Check:
			if err = e.keep(); err == nil {
				want, err = e.check(ctx, &offer)
			}
		case Stage:
			if !e.kept {
				err = e.secure()
			}
			if err == nil {
				want, err = e.stage(ctx, &offer, until)
			}
		case Arm:
			want, err = e.arm(ctx)
		case Restart:
			want, err = e.restart(ctx)
		case Probe:
			want, err = e.probe(ctx)
		case Finish:
			err = e.finish(ctx)
		case FallBack:
			err = e.fellBack(ctx)
		case Abandon:
			if err = e.secure(); err != nil {
				break
			}
			err = e.end(Failed, refuse("slots", fmt.Errorf("slot %s runs, which was to be written", e.facts.Booted)))
		}
		if err != nil || want != (Want{}) {
			return want, err
		}
	}
}

// ask learns from the bootloader how things stand. While a release is checked and staged that changes by our own hand
// alone, and is asked once: for some it takes a program.
func (e *Engine) ask() error {
	if e.sure && (e.j.Phase == Checking || e.j.Phase == Staging) {
		return nil
	}
	facts, err := e.o.Boot.Facts()
	if err != nil {
		return fmt.Errorf("ask the bootloader: %w", err)
	}
	e.facts, e.sure = facts, true
	return nil
}

// secure sees to it that the running system is what starts, however often the power goes: while the other slot is being
// written, and after it was tried without success, there is no other that is whole.
func (e *Engine) secure() error {
	e.sure = false
	if err := errors.Join(e.o.Boot.Commit(), e.o.Boot.Disarm()); err != nil {
		return fmt.Errorf("secure slot %s: %w", e.facts.Booted, err)
	}
	e.kept = true
	return nil
}

// keep tells the bootloader, once in each start of the machine, that the running system is in order: some count the
// starts of a system that nobody vouches for.
func (e *Engine) keep() error {
	if e.kept || len(Missing(nil, e.health)) > 0 {
		return nil
	}
	e.sure = false
	if err := e.o.Boot.Commit(); err != nil {
		return fmt.Errorf("vouch for slot %s: %w", e.facts.Booted, err)
	}
	e.kept = true
	return nil
}

// Run does what needs nobody else: after a restart it finds out what came of a trial, and it keeps the deadline of one
// even when the agent is dead. It returns when ctx ends.
func (e *Engine) Run(ctx context.Context) error {
	for {
		fired, stop := e.o.Clock.Timer(e.alone(ctx))
		select {
		case <-ctx.Done():
			stop()
			return nil
		case <-fired:
		}
	}
}

// alone does a step that asks for nothing, and returns how long to wait for the next.
func (e *Engine) alone(ctx context.Context) time.Duration {
	release, err := e.own(ctx)
	if err != nil {
		return time.Hour
	}
	defer release()
	if e.j.Phase != Idle && e.j.Phase != Arming && !e.fresh {
		return time.Hour // it is somebody else's turn to bring something
	}
	e.fresh = false
	want, err := e.steps(ctx, Offer{}, e.o.Clock.Now())
	switch {
	case err != nil:
		e.o.Log.Error("update", "err", err)
		return time.Minute
	case want.Done:
		return time.Hour
	case want.Wait > 0:
		return want.Wait
	}
	return time.Minute
}

// end closes the job: the outcome goes to the history, then the journal is idle. Both can be done twice.
func (e *Engine) end(result Result, cause error) error {
	o := Outcome{Job: e.j.Job.ID, Release: e.j.Job.Release, Result: result, Trials: e.j.Trials, Began: e.j.Began,
		Ended: e.o.Clock.Now().UTC().Round(time.Second), Trusted: e.j.Trusted && e.o.Clock.Trusted()}
	if cause != nil {
		o.Reason, o.Error = Reason(cause), clipped(cause.Error(), errorBytes)
	}
	var h history
	if _, err := e.store.read("history", recordsBytes, &h); err != nil {
		e.o.Log.Error("the history of updates is damaged and begins anew", "err", err)
		h = history{}
	}
	h.add(o)
	if err := e.store.write("history", h); err != nil {
		e.o.Log.Error("the outcome is not in the history", "err", err) // the journal has it, too
	}
	e.o.Log.Info("update ended", "job", o.Job, "release", o.Release, "result", o.Result, "err", o.Error)
	e.forget()
	if e.o.mutant == journalReuse {
		j := e.j
		j.Phase, j.Last = Idle, &o
		return e.save(j)
	}
	return e.save(Journal{Last: &o})
}

// History returns the outcomes of the last jobs, the newest last.
func (e *Engine) History(ctx context.Context) ([]Outcome, error) {
	release, err := e.own(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	var h history
	_, err = e.store.read("history", recordsBytes, &h)
	return h.Outcomes, err
}

func sumOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
