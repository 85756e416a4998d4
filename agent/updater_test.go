package agent_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"holdfast/actuators"
	"holdfast/agent"
)

// Whoever watches the percentage alone has to see a job reach its end.
func TestAJobThatIsCommittedStandsAtAHundredPercent(t *testing.T) {
	for phase, want := range map[string]float64{"committed": 100, "rolled_back": 0, "refused": 0} {
		u := &agent.Updater{Ask: func(context.Context, string, actuators.Args) (actuators.Result, error) {
			return actuators.Result{"status": map[string]any{"kind": "system", "phase": "idle", "running": "pump/2",
				"last": map[string]any{"job": "j1", "release": "pump/2", "result": phase}}}, nil
		}}
		s, err := u.Status(t.Context(), "system")
		if err != nil || s.ID != "j1" || s.Phase != phase || s.Percent != want || !s.Over() {
			t.Errorf("%s: %+v, %v; want %g %%", phase, s, err, want)
		}
	}
}

// absentRepository is one that nobody answers for, until it is back.
type absentRepository struct{ back bool }

func (r *absentRepository) Open(context.Context, string, int64) (io.ReadCloser, error) {
	if r.back {
		return io.NopCloser(strings.NewReader("{}")), nil
	}
	return nil, errors.New("connection refused")
}

// A job whose repository cannot be reached says so for as long as that lasts, and no longer.
func TestAJobThatCannotFetchSaysWhatKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repository := &absentRepository{}
		var told []string
		u := &agent.Updater{Clock: &bubble{}, Log: slog.New(slog.DiscardHandler),
			Open:   func(*agent.UpdateJob) (agent.Repository, error) { return repository, nil },
			Health: func(context.Context) (agent.Health, error) { return agent.Health{}, nil },
			Tell: func(_ context.Context, s agent.UpdateStatus) {
				told = append(told, s.Waiting)
				if len(told) == 5 { // asked, in vain, asked, in vain, asked
					repository.back = true
				}
			},
			Ask: func(_ context.Context, _ string, args actuators.Args) (actuators.Result, error) {
				if args.Text("file") != "" {
					return actuators.Result{"status": map[string]any{"job": "j1", "phase": "downloading"}, "want": map[string]any{"done": true}}, nil
				}
				return actuators.Result{"status": map[string]any{"job": "j1", "release": "pump/2", "phase": "downloading"},
					"want": map[string]any{"metadata": "metadata/2.root.json", "most": 1000}}, nil
			}}
		_, _, err := u.Drive(t.Context(), &agent.UpdateJob{ID: "j1", Kind: "system", Release: "pump/2"})
		const why = "fetch metadata/2.root.json: connection refused"
		if want := []string{"", why, why, why, why, ""}; err != nil || !slices.Equal(told, want) {
			t.Errorf("told %q, %v; want %q", told, err, want)
		}
	})
}
