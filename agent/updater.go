package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"holdfast/actuators"
	"holdfast/board"
	"holdfast/board/strict"
)

// An Updater carries out update jobs as far as a process without power can: it tells the warden of the job, and brings it
// the files it wants. What the files hold, and what they are good for, is the warden's to judge.
type Updater struct {
	// Ask has a verb of the warden's done; streams are in the context.
	Ask func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error)
	// Open opens the repository that a job names.
	Open func(job *UpdateJob) (Repository, error)
	// Health says how the system is.
	Health func(ctx context.Context) (Health, error)
	// Tell is called with every change of a job's status.
	Tell  func(ctx context.Context, s UpdateStatus)
	Clock board.Clock
	Log   *slog.Logger
}

// Health is what the agent tells the warden of the system, for the gate that an update has to pass.
type Health struct {
	Link    bool
	Sources []string // collectors whose last reading is good
	Alerts  []string // critical ones that are open
}

// An UpdateJob is what the topic job carries.
type UpdateJob struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind"` // "update" of the system, "agent" or "content"
	Release    string          `json:"release"`
	Repository string          `json:"repository,omitempty"` // empty: the configuration's; "inline": the metadata is in the job
	Metadata   json.RawMessage `json:"metadata,omitempty"`
	NotBefore  time.Time       `json:"not_before,omitzero"`
	Window     string          `json:"window,omitempty"`
	Priority   int             `json:"priority,omitempty"`
}

const jobBytes = 60 << 10

// ParseJob reads a job as it comes. The id is returned as far as it can be read, so that its sender can be answered.
func ParseJob(raw []byte) (*UpdateJob, error) {
	j := &UpdateJob{}
	if err := strict.Unmarshal(raw, j, strict.Limits{Bytes: jobBytes, Depth: 16, Members: 4096}); err != nil {
		return &UpdateJob{ID: idOf(raw)}, err
	}
	switch j.Kind {
	case "", "update":
		j.Kind = "system"
	case "system", "agent", "content":
	default:
		return j, fmt.Errorf("kind %.40q: update, agent and content are known", j.Kind)
	}
	if j.ID == "" || len(j.ID) > idBytes {
		return j, fmt.Errorf("id of %d bytes: 1 to %d are taken", len(j.ID), idBytes)
	}
	return j, nil
}

// UpdateStatus is what the topic job/status carries, and what the warden says of a job.
type UpdateStatus struct {
	ID         string  `json:"id"`
	Kind       string  `json:"kind,omitempty"`
	Release    string  `json:"release,omitempty"`
	Phase      string  `json:"phase"` // idle, downloading, downloaded, verified, updating; at the end committed, rolled_back, failed, refused, canceled
	Percent    float64 `json:"percent"`
	Bytes      int64   `json:"bytes"`
	Total      int64   `json:"total_bytes"`
	ETASeconds int64   `json:"eta_seconds,omitempty"`
	Waiting    string  `json:"waiting,omitempty"`
	Paused     bool    `json:"paused,omitempty"`
	Trials     int     `json:"trials,omitempty"`
	Running    string  `json:"running,omitempty"`
	Reason     string  `json:"reason,omitempty"` // one word for why it ended as it did
	Error      string  `json:"error,omitempty"`

	Repository string `json:"-"`
	Trial      bool   `json:"-"`
}

// Over reports whether the job has ended.
func (s UpdateStatus) Over() bool {
	switch s.Phase {
	case "committed", "rolled_back", "failed", "refused", "canceled":
		return true
	}
	return false
}

// present is the warden's own view, as its verbs answer with it.
type present struct {
	Status struct {
		Kind       string  `json:"kind"`
		Job        string  `json:"job"`
		Release    string  `json:"release"`
		Repository string  `json:"repository"`
		Phase      string  `json:"phase"`
		Percent    float64 `json:"percent"`
		Bytes      int64   `json:"bytes"`
		Total      int64   `json:"total_bytes"`
		Left       int64   `json:"eta_seconds"`
		Waiting    string  `json:"waiting"`
		Paused     bool    `json:"paused"`
		Trials     int     `json:"trials"`
		Running    string  `json:"running"`
		Trial      bool    `json:"trial"`
		Last       *struct {
			Job     string `json:"job"`
			Release string `json:"release"`
			Result  string `json:"result"`
			Reason  string `json:"reason"`
			Error   string `json:"error"`
			Trials  int    `json:"trials"`
		} `json:"last"`
	} `json:"status"`
	Want struct {
		Metadata string `json:"metadata"`
		Most     int64  `json:"most"`
		Patch    string `json:"patch"`
		PatchLen int64  `json:"patch_bytes"`
		Full     string `json:"full"`
		FullLen  int64  `json:"full_bytes"`
		Health   bool   `json:"health"`
		Wait     int64  `json:"wait_ms"`
		Done     bool   `json:"done"`
	} `json:"want"`
	Error string `json:"error"`
}

// of returns the status of a job as others are told of it.
func (p *present) of(id string) UpdateStatus {
	s := p.Status
	if l := s.Last; s.Job == "" && l != nil && (id == "" || l.Job == id) {
		ended := UpdateStatus{ID: l.Job, Kind: s.Kind, Release: l.Release, Phase: l.Result, Reason: l.Reason, Error: l.Error, Trials: l.Trials,
			Running: s.Running, Trial: s.Trial}
		if ended.Phase == "committed" {
			ended.Percent = 100
		}
		return ended
	}
	return UpdateStatus{ID: s.Job, Kind: s.Kind, Release: s.Release, Phase: s.Phase, Percent: s.Percent, Bytes: s.Bytes, Total: s.Total,
		ETASeconds: s.Left, Waiting: s.Waiting, Paused: s.Paused, Trials: s.Trials, Running: s.Running, Repository: s.Repository, Trial: s.Trial}
}

// Begin tells the warden of a job, and returns how it stands.
func (u *Updater) Begin(ctx context.Context, j *UpdateJob) (UpdateStatus, error) {
	args := actuators.Args{"kind": j.Kind, "id": j.ID, "release": j.Release, "repository": j.Repository, "window": j.Window,
		"priority": float64(j.Priority)}
	if !j.NotBefore.IsZero() {
		args["not_before"] = j.NotBefore.UTC().Format(time.RFC3339)
	}
	p, err := u.ask(ctx, "update.job", args)
	if err != nil {
		return UpdateStatus{}, err
	}
	return p.of(j.ID), nil
}

// Status asks how one kind of update stands.
func (u *Updater) Status(ctx context.Context, kind string) (UpdateStatus, error) {
	p, err := u.ask(ctx, "update.status", actuators.Args{"kind": kind})
	if err != nil {
		return UpdateStatus{}, err
	}
	return p.of(""), nil
}

func (u *Updater) ask(ctx context.Context, verb string, args actuators.Args) (*present, error) {
	result, err := u.Ask(ctx, verb, args)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(result)
	p := &present{}
	if err == nil {
		err = strict.Unmarshal(raw, p, strict.Limits{Bytes: 64 << 10, Depth: 8, Members: 1024, AllowUnknown: true})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	return p, nil
}

// Bounds of the pauses after what went wrong.
const (
	firstPause = 5 * time.Second
	lastPause  = 15 * time.Minute
)

// Drive goes on with a job until it is over, or until nothing can be done for a while: wait says how long. It returns an
// error only when ctx ends.
func (u *Updater) Drive(ctx context.Context, j *UpdateJob) (wait time.Duration, over bool, err error) {
	repository, openErr := u.Open(j)
	b := &bringer{repository: repository}
	defer b.leave()
	var last present
	pause, stuck := firstPause, ""
	for {
		before, brought := last.Status.Bytes, last.Want.Metadata != "" || last.Want.Patch != ""
		p, problem := u.advance(ctx, j.Kind, &last, b, openErr)
		if ctx.Err() != nil {
			return 0, false, context.Cause(ctx)
		}
		if p != nil {
			last = *p
			if problem == nil && p.Error != "" {
				problem = errors.New(p.Error)
			}
			if p.Status.Bytes > before {
				pause = firstPause
			}
		}
		if problem != nil {
			stuck = oneLine(problem)
		} else if brought {
			stuck = ""
		}
		if over := u.tell(ctx, &last, j.ID, stuck); p != nil && (p.Want.Done || over) {
			return 0, true, nil
		}
		nap := time.Duration(0)
		switch {
		case problem != nil:
			u.Log.Warn("update", "job", j.ID, "err", problem, "again", pause)
			nap = napAfter(problem, pause)
			pause = min(2*pause, lastPause)
			last.Want.Metadata, last.Want.Patch = "", "" // ask anew what is wanted
		case p.Want.Wait > 0:
			nap = time.Duration(p.Want.Wait) * time.Millisecond
			if nap > time.Minute {
				return nap, false, nil
			}
		}
		if nap > 0 {
			b.close() // a server does not wait that long
			if !board.Wait(ctx, u.Clock, nap) {
				return 0, false, context.Cause(ctx)
			}
		}
	}
}

// tell says how a job stands, and what keeps it where the warden knows of nothing: whoever watches would see no more than
// that nothing moves. It reports whether the job is over.
func (u *Updater) tell(ctx context.Context, last *present, id, stuck string) bool {
	if last.Status.Phase == "" { // the warden has not answered yet
		return false
	}
	s := last.of(id)
	if s.Waiting == "" && !s.Over() {
		s.Waiting = stuck
	}
	u.Tell(ctx, s)
	return s.Over()
}

// napAfter is a random time of up to pause, or longer where the other side asks for it.
func napAfter(problem error, pause time.Duration) time.Duration {
	nap := pause/2 + rand.N(pause/2+1)
	var later interface{ RetryAfter() time.Duration }
	if errors.As(problem, &later) {
		nap = max(nap, later.RetryAfter())
	}
	return nap
}

// oneLine is an error on one line, as others are told of it.
func oneLine(err error) string {
	return strings.ToValidUTF8(fmt.Sprintf("%.300s", strings.ReplaceAll(err.Error(), "\n", "; ")), "")
}

// advance brings what was wanted last, and returns what is wanted next.
func (u *Updater) advance(ctx context.Context, kind string, last *present, b *bringer, openErr error) (*present, error) {
	args := actuators.Args{"kind": kind}
	h, err := u.Health(ctx)
	if err != nil {
		return nil, err
	}
	args["report"], args["link"], args["sources"], args["alerts"] = true, h.Link, first(h.Sources, 64), first(h.Alerts, 64)
	var streams []actuators.Stream
	switch w := last.Want; {
	case w.Metadata == "" && w.Patch == "":
	case openErr != nil:
		return nil, openErr
	case w.Metadata != "":
		raw, err := b.small(ctx, w.Metadata, w.Most)
		switch {
		case errors.Is(err, ErrAbsent):
			args["absent"] = w.Metadata
		case err != nil:
			return nil, fmt.Errorf("fetch %s: %w", w.Metadata, err)
		default:
			args["file"] = w.Metadata
			streams = append(streams, actuators.Stream{Name: "file", Bytes: int64(len(raw)), ReaderAt: raw})
		}
	default:
		args["patch"], args["full"] = w.Patch, w.Full
		patch := b.file(ctx, w.Patch, w.PatchLen)
		streams = append(streams, actuators.Stream{Name: "patch", Bytes: w.PatchLen, ReaderAt: patch})
		if w.Full != w.Patch {
			streams = append(streams, actuators.Stream{Name: "full", Bytes: w.FullLen, ReaderAt: b.file(ctx, w.Full, w.FullLen)})
		}
	}
	p, err := u.ask(actuators.WithStreams(ctx, streams...), "update.advance", args)
	return p, errors.Join(b.fault(), err)
}

func first(names []string, most int) []string {
	if names == nil {
		names = []string{}
	}
	return names[:min(len(names), most)]
}
