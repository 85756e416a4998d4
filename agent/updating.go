package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/board"
	"holdfast/board/strict"
)

// updating is the goroutine that carries out update jobs. One job is at work at a time; the topic job is retained, so what
// it says now is what counts.
type updating struct {
	u      *Updater
	kinds  []string             // of updates that the warden knows
	jobs   chan json.RawMessage // room for one: only the newest counts
	poke   chan struct{}        // room for one: somebody paused, resumed or canceled
	core   *core
	record func(ctx context.Context, kind string, body map[string]any) error
	told   UpdateStatus // as it was published last
	at     time.Time    // when

	files   board.Files       // keeps ended
	ended   map[string]string // by kind, how the last job ended, as it was recorded: once, and not at each start
	resumes bool              // what is asked for is how things stand, and not news
}

// statusEvery is how often progress is published at most.
const statusEvery = 10 * time.Second

// job hands a message of the topic over. What the updater has not yet looked at is replaced.
func (g *updating) job(body json.RawMessage) {
	select {
	case <-g.jobs:
	default:
	}
	g.jobs <- slices.Clone(body)
}

// run carries out jobs until ctx ends. What was under way when the process ended goes on first, without the broker.
func (g *updating) run(ctx context.Context) error {
	// A newer job ends the drive of the one before, and must not cut off what is said of it: said once, it is not said again.
	g.u.Tell = func(_ context.Context, s UpdateStatus) { g.tell(ctx, s) }
	current := g.resume(ctx)
	for {
		var again <-chan time.Time
		stop := func() {}
		if current != nil {
			wait, over := g.drive(ctx, current)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if over {
				current = nil
			} else {
				again, stop = g.u.Clock.Timer(wait)
			}
		}
		select {
		case <-ctx.Done():
			stop()
			return context.Cause(ctx)
		case <-again:
		case <-g.poke:
			stop()
			if current == nil {
				current = g.resume(ctx)
			}
		case raw := <-g.jobs:
			stop()
			if j := g.take(ctx, raw); j != nil {
				current = j
			}
		}
	}
}

// resume asks the warden what is under way. A warden that is not there is asked again when a job comes.
func (g *updating) resume(ctx context.Context) *UpdateJob {
	for _, kind := range g.kinds {
		s, err := g.u.Status(ctx, kind)
		switch {
		case err != nil:
			g.u.Log.Info("updates cannot be asked for", "kind", kind, "err", err)
			return nil
		case s.ID != "" && !s.Over() && s.Phase != "idle", s.Trial:
			return &UpdateJob{ID: s.ID, Kind: kind, Release: s.Release, Repository: s.Repository}
		}
		g.resumes = true
		_, _, err = g.u.Drive(ctx, &UpdateJob{ID: s.ID, Kind: kind}) // tells the warden that this start went well
		if g.resumes = false; err != nil {
			return nil
		}
	}
	return nil
}

// drive goes on with a job, and lets a new one interrupt it. The job itself comes again with each connection.
func (g *updating) drive(ctx context.Context, j *UpdateJob) (time.Duration, bool) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	next := make(chan json.RawMessage, 1)
	done := make(chan struct{})
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		for {
			select {
			case raw := <-g.jobs:
				if j.again(raw) {
					continue
				}
				next <- raw
				stop(errNewer)
			case <-done:
			}
			return
		}
	}()
	wait, over, err := g.u.Drive(ctx, j)
	close(done)
	<-listening
	select {
	case raw := <-next:
		select {
		case g.jobs <- raw: // for run to take
		default: // there is a newer one already
		}
		return time.Second, false // so that run takes it before it goes on with this one
	default:
	}
	return wait, over || err != nil
}

// again reports whether a message says nothing but this job.
func (j *UpdateJob) again(raw json.RawMessage) bool {
	n, err := ParseJob(raw)
	return err == nil && n.ID == j.ID && n.Kind == j.Kind && n.Release == j.Release && n.Repository == j.Repository && len(n.Metadata) == 0
}

var errNewer = errors.New("there is a newer job")

// take begins a job, or says why not.
func (g *updating) take(ctx context.Context, raw json.RawMessage) *UpdateJob {
	if len(raw) == 0 {
		return nil // cleared; what was begun goes on, update.cancel ends it
	}
	j, err := ParseJob(raw)
	if err == nil && !slices.Contains(g.kinds, j.Kind) {
		err = fmt.Errorf("this board has no updates of the kind %q", j.Kind)
	}
	var s UpdateStatus
	if err == nil {
		s, err = g.u.Begin(ctx, j)
	}
	if err != nil {
		g.u.Log.Warn("update refused", "job", j.ID, "err", err)
		if j.ID != "" {
			g.tell(ctx, UpdateStatus{ID: j.ID, Kind: j.Kind, Release: j.Release, Phase: "refused", Reason: "job", Error: err.Error()})
		}
		return nil
	}
	g.tell(ctx, s)
	if s.Over() {
		return nil
	}
	return j
}

// tell publishes a status when it says something new, and records every change of phase.
func (g *updating) tell(ctx context.Context, s UpdateStatus) {
	if s.ID == "" {
		return
	}
	known := s.Over() && g.ended[s.Kind] == s.ID+" "+s.Phase
	if known && g.resumes {
		return
	}
	now := g.u.Clock.Now()
	was := g.told
	fresh := s.ID != was.ID || s.Phase != was.Phase || s.Error != was.Error || s.Paused != was.Paused || s.Waiting != was.Waiting
	if !fresh && (s == was || now.Sub(g.at) < statusEvery) {
		return
	}
	g.told, g.at = s, now
	if fresh && (s.ID != was.ID || s.Phase != was.Phase) && !known {
		body := map[string]any{"job": s.ID, "job_kind": s.Kind, "release": s.Release, "phase": s.Phase}
		if s.Error != "" {
			body["reason"], body["error"] = s.Reason, s.Error
		}
		if err := g.record(ctx, "update", body); err != nil {
			g.u.Log.Warn("update", "job", s.ID, "err", err)
		} else if s.Over() && slices.Contains(g.kinds, s.Kind) {
			g.end(s)
		}
	}
	body, err := json.Marshal(s)
	if err != nil {
		return
	}
	_ = g.core.look(ctx, func(c *core) { c.sayJob(body) })
}

// end notes that the end of a job is recorded. What the power takes is recorded again.
func (g *updating) end(s UpdateStatus) {
	g.ended[s.Kind] = s.ID + " " + s.Phase
	raw, err := json.Marshal(g.ended)
	if err == nil {
		err = g.files.WriteFile(endedName, board.Seal(raw))
	}
	if err != nil {
		g.u.Log.Warn("that the end of an update was recorded is not kept", "err", err)
	}
}

// endedName is the document of ended, endedBytes what it may have.
const (
	endedName  = "updates"
	endedBytes = 4 << 10
)

// endings reads it. One that is damaged or missing costs a record that comes twice.
func endings(files board.Files) map[string]string {
	m := map[string]string{}
	raw, err := files.ReadFile(endedName, endedBytes)
	if err == nil {
		raw, err = board.Unseal(raw)
	}
	if err != nil || strict.Unmarshal(raw, &m, strict.Limits{Bytes: endedBytes, Depth: 2, Members: 8}) != nil {
		return map[string]string{}
	}
	return m
}

// health is how the system is, as the core sees it.
func (c *core) health() Health {
	h := Health{Link: c.link.up, Sources: []string{}}
	now := c.clock.Now()
	silent := map[string]bool{}
	for key, sample := range c.latest {
		if key.source != "collector" {
			continue
		}
		for _, f := range sample.Fields {
			if text, ok := f.Value.Text(); ok && f.Name == "state" && text != "ok" {
				silent[key.instance] = true
			}
		}
	}
	for key, sample := range c.latest {
		period, _, _ := c.settings.schedule(key.source)
		if key.source == "collector" || silent[key.source] || now.Sub(sample.Time) > 3*period+time.Minute || slices.Contains(h.Sources, key.source) {
			continue
		}
		h.Sources = append(h.Sources, key.source)
	}
	slices.Sort(h.Sources)
	return h
}
