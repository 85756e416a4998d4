package relay

import (
	"fmt"
	"slices"
	"time"

	"holdfast/actuators"
)

// admits returns why the relay can never take such a pulse.
func (s *state) admits(on bool, pulse time.Duration) error {
	hold := s.MinOff
	if on {
		hold = s.MinOn
	}
	switch {
	case pulse == 0:
	case pulse < hold:
		return fmt.Errorf("%w: a pulse of %v, and it has to stay so for at least %v", actuators.ErrInvalid, pulse, hold)
	case on && s.MaxOn > 0 && pulse > s.MaxOn:
		return fmt.Errorf("%w: a pulse of %v, and it may be on for at most %v", actuators.ErrInvalid, pulse, s.MaxOn)
	}
	return nil
}

// locked returns why the relay may not be set now.
func (t *table) locked(s *state, on, pulse bool, now time.Time) error {
	switch {
	case t.over:
		return fmt.Errorf("%w: the outputs are being given up", actuators.ErrLocked)
	case t.silent:
		return fmt.Errorf("%w: no sign of life from the agent for %v", actuators.ErrLocked, now.Sub(t.beaten).Round(time.Millisecond))
	case s.known && s.on == on && !pulse:
		return nil
	}
	if other := t.against(s); on && other != "" {
		return fmt.Errorf("%w: never on together with %s", actuators.ErrLocked, other)
	}
	coming := 0
	if pulse {
		coming++ // it ends
	}
	if !s.known || s.on != on {
		if err := s.holds(now); err != nil {
			return err
		}
		coming++
	}
	return s.rate(now, coming)
}

// against names a relay that keeps s from going on: one that it excludes and that is on, or may be.
func (t *table) against(s *state) string {
	for _, other := range s.Excludes {
		if o := t.relays[other]; o.on || !o.known {
			return other
		}
	}
	return ""
}

// holds returns why the relay has to stay as it is. One in an unknown state has to outlast both times.
func (s *state) holds(now time.Time) error {
	hold, what := s.MinOff, "off"
	if s.on {
		hold, what = s.MinOn, "on"
	}
	if !s.known {
		hold, what = max(s.MinOn, s.MinOff), "in doubt"
	}
	if left := hold - now.Sub(s.since); left > 0 {
		return fmt.Errorf("%w: %s for at least %v, %v more", actuators.ErrLocked, what, hold, left.Round(time.Millisecond))
	}
	return nil
}

// rate returns why so many changes are too many now.
func (s *state) rate(now time.Time, coming int) error {
	s.changes = slices.DeleteFunc(s.changes, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	over := len(s.changes) + coming - s.MaxPerMinute
	if s.MaxPerMinute == 0 || over <= 0 {
		return nil
	}
	if over > len(s.changes) {
		return fmt.Errorf("%w: a pulse is two changes, and %d are allowed within a minute", actuators.ErrInvalid, s.MaxPerMinute)
	}
	left := time.Minute - now.Sub(s.changes[over-1])
	return fmt.Errorf("%w: %d changes within a minute, %v more", actuators.ErrLocked, s.MaxPerMinute, left.Round(time.Millisecond))
}
