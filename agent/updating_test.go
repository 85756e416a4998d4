package agent_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast/actuators"
	"holdfast/agent"
)

// What is under way is told again by the broker with each connection, and costs no new request.
func TestAJobThatIsUnderWayIsNotInterruptedByItself(t *testing.T) {
	live(t, func(r *rig) {
		var begun []any
		working, interrupted := 0, 0
		status := map[string]any{"kind": "system", "job": "job-1", "release": "pump/2", "phase": "downloading"}
		r.parts.Updates = &agent.Updates{Kinds: []string{"system"},
			Open: func(*agent.UpdateJob) (agent.Repository, error) { return nil, errors.New("nothing is fetched") },
			Ask: func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error) {
				switch verb {
				case "update.job":
					begun = append(begun, args["id"])
					status["job"] = args["id"]
				case "update.advance":
					working++
					<-ctx.Done()
					interrupted++
					return nil, context.Cause(ctx)
				}
				return actuators.Result{"status": status, "want": map[string]any{}}, nil
			}}
		r.say("job", true, `{"id":"job-1","kind":"update","release":"pump/2"}`)
		r.start()
		r.say("job", true, `{"id":"job-1","kind":"update","release":"pump/2"}`)
		if working != 1 || interrupted != 0 || len(begun) > 0 {
			t.Errorf("the job that is under way: %d works, %d of them interrupted, begun %v", working, interrupted, begun)
		}
		r.say("job", true, `{"id":"job-2","kind":"update","release":"pump/2"}`)
		if working != 2 || interrupted != 1 || len(begun) != 1 || begun[0] != "job-2" {
			t.Errorf("another job: %d works, %d of them interrupted, begun %v", working, interrupted, begun)
		}
		r.say("job", true, `{"id":"job-2","kind":"update","release":"pump/2","metadata":{"files":{}}}`)
		if interrupted != 2 || len(begun) != 2 {
			t.Errorf("with metadata that may be needed: %d interrupted, begun %v", interrupted, begun)
		}
	})
}

// How the last job of each kind ended is news once, and not at each start of the agent.
func TestTheEndOfAJobIsRecordedOnce(t *testing.T) {
	live(t, func(r *rig) {
		r.parts.Updates = &agent.Updates{Kinds: []string{"system", "content"},
			Open: func(*agent.UpdateJob) (agent.Repository, error) { return nil, errors.New("nothing is fetched") },
			Ask: func(_ context.Context, _ string, args actuators.Args) (actuators.Result, error) {
				kind := args["kind"].(string)
				last := map[string]any{"job": "job-" + kind, "release": kind + "/2", "result": "committed"}
				return actuators.Result{"status": map[string]any{"kind": kind, "phase": "idle", "last": last}, "want": map[string]any{"done": true}}, nil
			}}
		for start := range 3 {
			r.start()
			r.pass(time.Minute)
			if got := r.events("update"); len(got) != 2 {
				t.Errorf("start %d: %d records of 2 jobs that ended: %v", start, len(got), got)
			}
			r.stop()
		}
		r.start()
		r.say("job", true, `{"id":"job-system","kind":"update","release":"system/2"}`)
		r.pass(time.Minute)
		if said := r.heard("job/status"); len(said) == 0 || said[len(said)-1]["id"] != "job-system" {
			t.Errorf("who gives a job again is told how it ended: %v", said)
		}
		if got := r.events("update"); len(got) != 2 {
			t.Errorf("%d records of 2 jobs, of which one was given again", len(got))
		}
	})
}
