package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"holdfast/actuators"
)

func token(session string, n uint64) string { return fmt.Sprintf("%s-%d", session, n) }

// errStopped means that the agent is on its way out.
var errStopped = errors.New("the agent is stopping")

// look runs f inside the core.
func (c *core) look(ctx context.Context, f func(*core)) error {
	done := make(chan struct{})
	select {
	case c.ask <- func(c *core) { f(c); close(done) }:
		<-done
		return nil
	case <-c.gone:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ping answers with the time and how long the agent runs.
func (a *Agent) ping() actuators.Verb {
	return actuators.Verb{Name: "ping", Help: "answer with the device's time and uptime",
		Do: func(context.Context, actuators.Args) (actuators.Result, error) {
			now := a.parts.Board.Clock.Now()
			return actuators.Result{"time": now.UTC().Format(time.RFC3339Nano), "trusted": a.parts.Board.Clock.Trusted(),
				"uptime_seconds": now.Sub(a.parts.Policy.StartUp).Round(time.Second).Seconds(),
				"version":        a.parts.Version, "session": a.recorder.session}, nil
		}}
}

// sample answers with the latest reading of every source, or of one.
func (a *Agent) sample() actuators.Verb {
	return actuators.Verb{Name: "sample", Help: "answer with the latest readings",
		Params: []actuators.Param{{Name: "source", Kind: actuators.Text, Max: 64, Help: "only of this source"}},
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			only := args.Text("source")
			readings := actuators.Result{}
			err := a.core.look(ctx, func(c *core) {
				size := 0
				for key, s := range c.latest {
					if only != "" && key.source != only {
						continue
					}
					name := key.source
					if key.instance != "" {
						name += "/" + key.instance
					}
					text := s.AppendJSON(nil)
					if size += len(text); size > sampleBytes {
						readings["truncated"] = true
						break
					}
					readings[name] = raw(text)
				}
			})
			if err == nil && len(readings) == 0 {
				return nil, fmt.Errorf("no reading of %q yet", only)
			}
			return readings, err
		}}
}

// sampleBytes bounds the answer to sample.
const sampleBytes = 32 << 10

// raw is JSON that is already written.
type raw []byte

// MarshalJSON implements json.Marshaler.
func (r raw) MarshalJSON() ([]byte, error) { return r, nil }

// Reload puts another base under the settings, as when the configuration file was changed. What the shadow desires stays
// on top of it.
func (a *Agent) Reload(ctx context.Context, s Settings) error {
	return a.core.look(ctx, func(c *core) {
		c.base = s
		c.apply()
		c.report(c.clock.Now())
	})
}

// Turn returns when the core loop has gone round: what asks for it shows that the loop does not hang.
func (a *Agent) Turn(ctx context.Context) error { return a.core.look(ctx, func(*core) {}) }

// Restore switches outputs to their desired levels again, after something else has switched them. With a body that is told
// as an event of kind "lines".
func (a *Agent) Restore(ctx context.Context, body map[string]any) error {
	return a.core.look(ctx, func(c *core) {
		if body != nil {
			c.event("lines", body)
		}
		c.hold(maps.Clone(c.settings.Relays))
		c.reported.dirty = true
		c.report(c.clock.Now())
	})
}

// Counters returns the agent's own figures, a few seconds old at most. Any goroutine may ask.
func (a *Agent) Counters() Counters { return *a.counters.Load() }

// Newest names the newest record of this start: its session and its number there, 0 before the first. Whether it has
// left is another question. Any goroutine may ask; after Run has returned it is the last there will be.
func (a *Agent) Newest() (session string, seq uint64) {
	return a.recorder.session, a.recorder.seq.Load()
}
