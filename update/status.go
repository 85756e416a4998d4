package update

import (
	"holdfast/board"
)

// Status is the present view of an engine.
type Status struct {
	Kind       string       `json:"kind"`
	Job        string       `json:"job,omitempty"`
	Release    string       `json:"release,omitempty"` // that the job is about
	Phase      string       `json:"phase"`             // idle, downloading, downloaded, verified or updating, after the states of LwM2M's object 5
	Percent    float64      `json:"percent"`           // of the new images
	Bytes      int64        `json:"bytes"`             // of them that are in the slot
	Total      int64        `json:"total_bytes"`
	Left       int64        `json:"eta_seconds,omitempty"`
	Waiting    string       `json:"waiting,omitempty"` // why nothing goes on
	Paused     bool         `json:"paused,omitempty"`
	Trials     int          `json:"trials,omitempty"`
	Repository string       `json:"repository,omitempty"` // as the job names it
	Trial      bool         `json:"trial,omitempty"`      // the running system is on trial
	Running    string       `json:"running,omitempty"`    // the release of the running slot, where it is known
	Booted     board.SlotID `json:"booted,omitempty"`
	Next       board.SlotID `json:"next,omitempty"`
	Last       *Outcome     `json:"last,omitempty"`
	Fault      string       `json:"fault,omitempty"` // of the engine's own documents
}

// Status returns the present view. It waits for nobody.
func (e *Engine) Status() Status { return *e.status.Load() }

// publish makes the present view the one Status returns. Whoever calls it owns the engine.
func (e *Engine) publish() {
	s := e.present()
	e.status.Store(&s)
}

// Trial reports whether a system is on trial, and somebody has to stay to judge it.
func (e *Engine) Trial() bool { return e.Status().Trial }

func (e *Engine) present() Status {
	s := Status{Kind: e.o.Kind, Job: e.j.Job.ID, Release: e.j.Job.Release, Waiting: e.progress.waiting, Paused: e.j.Paused,
		Trials: e.j.Trials, Booted: e.facts.Booted, Next: e.facts.Next, Last: e.j.Last, Running: e.running().Name,
		Repository: e.j.Job.Repository, Trial: e.onTrial()}
	switch e.j.Phase {
	case Idle:
		s.Phase = "idle"
		if s.Trial {
			s.Phase = "updating"
		}
	case Checking:
		s.Phase = "downloading"
	case Staging:
		s.Phase = "downloading"
		if e.progress.stage != "" {
			s.Phase = "downloaded"
		}
		_ = e.loadManifest() // without it there are no figures
		s.Bytes, s.Total = e.made(), e.total()
		if s.Total > 0 {
			s.Percent = float64(s.Bytes*1000/s.Total) / 10
		}
		s.Left = int64(e.progress.left(e.o.Clock.Now(), s.Bytes, s.Total).Seconds())
	case Staged:
		s.Phase, s.Percent = "verified", 100
	case Arming:
		s.Phase, s.Percent = "updating", 100
	}
	if e.fault != nil {
		s.Fault = e.fault.Error()
	}
	return s
}
