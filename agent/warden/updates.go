package warden

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/actuators"
	"holdfast/update"
)

// UpdateVerbs are what may be asked of update engines, by the kind of thing each moves. With engines of nil values they
// only describe, for a process that asks another.
func UpdateVerbs(engines map[string]*update.Engine) []actuators.Verb {
	kinds := make([]string, 0, len(engines))
	for kind := range engines {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	kind := actuators.Param{Name: "kind", Kind: actuators.Text, Choices: kinds, Help: "what is updated; system when it is not said"}
	verb := func(name, help string, params []actuators.Param, do func(context.Context, *update.Engine, actuators.Args) (actuators.Result, error)) actuators.Verb {
		return actuators.Verb{Name: name, Help: help, Params: append([]actuators.Param{kind}, params...), Aside: true,
			Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
				name := args.Text("kind")
				if name == "" {
					name = "system"
				}
				e := engines[name]
				if e == nil {
					return nil, fmt.Errorf("%w: nothing of the kind %q is updated here", actuators.ErrInvalid, name)
				}
				return do(ctx, e, args)
			}}
	}
	text := func(name string, most float64) actuators.Param {
		return actuators.Param{Name: name, Kind: actuators.Text, Max: most}
	}
	after := func(act func(*update.Engine, context.Context) error) func(context.Context, *update.Engine, actuators.Args) (actuators.Result, error) {
		return func(ctx context.Context, e *update.Engine, _ actuators.Args) (actuators.Result, error) {
			if err := act(e, ctx); err != nil {
				return nil, err
			}
			return stands(e), nil
		}
	}
	return []actuators.Verb{
		verb("update.job", "take a job on", []actuators.Param{text("id", 64), text("release", 100), text("repository", 512), text("window", 32),
			text("not_before", 32), {Name: "priority", Kind: actuators.Number, Min: -1000, Max: 1000}}, begin),
		verb("update.advance", "go on with what is brought", []actuators.Param{text("file", 300), text("absent", 300), text("patch", 300), text("full", 300),
			{Name: "report", Kind: actuators.Truth}, {Name: "link", Kind: actuators.Truth},
			{Name: "sources", Kind: actuators.List, Most: 64, Max: 100}, {Name: "alerts", Kind: actuators.List, Most: 64, Max: 100}}, advance),
		verb("update.status", "how the update stands", nil, func(_ context.Context, e *update.Engine, _ actuators.Args) (actuators.Result, error) {
			return stands(e), nil
		}),
		verb("update.history", "how the last updates ended", nil, func(ctx context.Context, e *update.Engine, _ actuators.Args) (actuators.Result, error) {
			past, err := e.History(ctx)
			return actuators.Result{"history": past}, err
		}),
		verb("update.pause", "hold the update where it is", nil, after((*update.Engine).Pause)),
		verb("update.resume", "let a paused update go on", nil, after((*update.Engine).Resume)),
		verb("update.cancel", "give the update up", nil, after((*update.Engine).Cancel)),
	}
}

// RollbackVerb goes back to what ran before the last update. It is a rung of playbooks and is asked for by nobody else, so it
// belongs in no server's set. It restarts the machine, or the agent, and counts as that.
func RollbackVerb(engines map[string]*update.Engine) actuators.Verb {
	return actuators.Verb{Name: "update.rollback", Help: "go back to what ran before the last update", Class: actuators.Reboot, Destructive: true,
		Params: []actuators.Param{{Name: "kind", Kind: actuators.Text, Required: true, Choices: slices.Sorted(maps.Keys(engines))}},
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			e := engines[args.Text("kind")]
			if e == nil {
				return nil, fmt.Errorf("%w: nothing of the kind %q is updated here", actuators.ErrInvalid, args.Text("kind"))
			}
			release, err := e.RollBack(ctx)
			if err != nil {
				return nil, err
			}
			return actuators.Result{"kind": args.Text("kind"), "release": release}, nil
		}}
}

func stands(e *update.Engine) actuators.Result { return actuators.Result{"status": e.Status()} }

func begin(ctx context.Context, e *update.Engine, args actuators.Args) (actuators.Result, error) {
	job := update.Job{ID: args.Text("id"), Release: args.Text("release"), Repository: args.Text("repository"), Window: args.Text("window"),
		Priority: int(args.Number("priority"))}
	if at := args.Text("not_before"); at != "" {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return nil, fmt.Errorf("%w: not_before %q is not a time such as 2026-01-02T15:04:05Z", actuators.ErrInvalid, at)
		}
		job.NotBefore = t
	}
	if err := e.Accept(ctx, job); err != nil {
		return nil, err
	}
	return stands(e), nil
}

// wish is what an engine wants, as it crosses the wire.
type wish struct {
	Metadata   string `json:"metadata,omitempty"`
	Most       int64  `json:"most,omitempty"`
	Patch      string `json:"patch,omitempty"`
	PatchBytes int64  `json:"patch_bytes,omitempty"`
	Full       string `json:"full,omitempty"`
	FullBytes  int64  `json:"full_bytes,omitempty"`
	Health     bool   `json:"health,omitempty"`
	WaitMS     int64  `json:"wait_ms,omitempty"`
	Done       bool   `json:"done,omitempty"`
}

// advance hands over what was brought. What goes wrong is part of the answer: the caller is to come again.
func advance(ctx context.Context, e *update.Engine, args actuators.Args) (actuators.Result, error) {
	offer := update.Offer{Files: map[string]update.Stream{}, Absent: args.Text("absent")}
	if args.Truth("report") {
		offer.Health = &update.Health{Link: args.Truth("link"), Sources: args.List("sources"), Alerts: args.List("alerts")}
	}
	for _, s := range actuators.Streams(ctx) {
		name := args.Text(s.Name) // file, patch or full: the arguments say which file of the repository each is
		if name == "" {
			return nil, fmt.Errorf("%w: a stream %q that no argument names", actuators.ErrInvalid, s.Name)
		}
		offer.Files[name] = update.Stream{ReaderAt: s, Bytes: s.Bytes}
	}
	want, err := e.Advance(ctx, offer)
	w := wish{Metadata: want.Metadata, Most: want.Most, Health: want.Health, WaitMS: want.Wait.Milliseconds(), Done: want.Done}
	if want.Patch != nil {
		w.Patch, w.PatchBytes, w.Full, w.FullBytes = want.Patch.Name, want.Patch.Bytes, want.Full.Name, want.Full.Bytes
	}
	result := stands(e)
	result["want"] = w
	if err != nil {
		result["error"] = clip(err.Error())
	}
	return result, nil
}
