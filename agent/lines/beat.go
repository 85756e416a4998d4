package lines

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"holdfast/board"
)

// beat gives beats, each after a turn of the core loop, until ctx ends.
func (c *Client) beat(ctx context.Context) {
	hangs := false
	for {
		began := c.o.Clock.Now()
		err := c.once(ctx)
		if err != nil && !hangs && ctx.Err() == nil {
			c.o.Log.Error("the agent's loop does not go round; no beat is given", "err", err)
		}
		hangs = err != nil
		if !board.Wait(ctx, c.o.Clock, BeatEvery-min(c.o.Clock.Now().Sub(began), BeatEvery-time.Millisecond)) {
			return
		}
	}
}

// once gives one beat, if the core loop goes round; if not that is the error.
func (c *Client) once(ctx context.Context) error {
	limit, stop := context.WithTimeout(ctx, askLimit)
	defer stop()
	if c.o.Turn != nil {
		if err := c.o.Turn(limit); err != nil {
			return err
		}
	}
	began := c.o.Clock.Now()
	var s Standing
	err := learn(limit, c.o.Ask, beatVerb, nil, &s)
	if ctx.Err() != nil {
		return nil
	}
	back, body := c.heard(s, err, began)
	if !back || c.o.Back == nil {
		return nil
	}
	if c.o.Back(ctx, body) == nil { // else at the next beat again
		k := <-c.cache
		k.restored, k.standing = s.reset(), s
		c.cache <- k
	}
	return nil
}

// reset names the last time that outputs were brought to initial or safe levels.
func (s Standing) reset() string { return fmt.Sprintf("%s/%d", s.Start, s.Resets) }

// heard takes what a beat was answered. It reports whether outputs have to be set again, and what is worth telling of it.
func (c *Client) heard(s Standing, err error, began time.Time) (back bool, body map[string]any) {
	k := <-c.cache
	defer func() { c.cache <- k }()
	if err != nil {
		if k.toldErr == nil || !k.begun {
			c.o.Log.Warn("the process that owns the lines does not answer", "err", err)
		}
		k.toldErr, k.begun = err, true
		return false, nil
	}
	if k.toldErr != nil && k.begun {
		c.o.Log.Info("the process that owns the lines answers")
	}
	told := make(map[string]Level, len(s.Lines))
	maps.Copy(told, s.Lines)
	for name, at := range k.setAt {
		if at.Before(began) {
			delete(k.setAt, name)
		} else { // set while the answer was on its way
			told[name] = k.outputs[name]
		}
	}
	k.outputs, k.toldAt, k.toldErr, k.begun = told, began, nil, true
	if k.restored == s.reset() {
		return false, nil
	}
	return true, s.worth(k.standing)
}

// worth is what of a reset is worth telling: not that the first agent after the start of the machine has come.
func (s Standing) worth(before Standing) map[string]any {
	var safe []string
	for _, name := range slices.Sorted(maps.Keys(s.Lines)) {
		if s.Lines[name].Safe {
			safe = append(safe, name)
		}
	}
	switch {
	case s.Silent && s.Silences > 0:
		return map[string]any{"phase": "safe", "reason": "agent silent", "seconds": s.Seconds, "outputs": safe, "silences": s.Silences}
	case before.Start != "" && before.Start != s.Start:
		return map[string]any{"phase": "initial", "reason": "the process that owns the lines was started anew"}
	case before.Start != "" && len(safe) > 0:
		return map[string]any{"phase": "safe", "reason": "a line did not obey", "outputs": safe}
	}
	return nil
}
