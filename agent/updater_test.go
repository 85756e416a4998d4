package agent_test

import (
	"context"
	"testing"

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
