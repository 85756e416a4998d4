package remediate

import "time"

// A phase of an alert's life is told as an event each.
type phase uint8

const (
	raised phase = iota
	reminded
	cleared
)

func (p phase) String() string { return [...]string{"raised", "reminded", "cleared"}[p] }

// Bounds of what is told of alerts.
const (
	stormWindow = time.Minute
	stormEvents = 20 // told one by one in a window; the others are counted
	stormRules  = 64 // counted by name in a window
)

// A storm lets so many events of alerts through, and tells the rest of a window as one, at its end.
type storm struct {
	tell  func(kind string, body map[string]any)
	began time.Time // of the window
	sent  int
	held  map[string]*[3]int // by rule: events of each phase that were not told
	more  int                // of rules beyond those
}

// event tells of an alert, or counts it.
func (s *storm) event(now time.Time, rule string, p phase, body map[string]any) (told bool) {
	s.settle(now)
	if s.sent < stormEvents {
		s.begin(now)
		s.sent++
		s.tell("alert", body)
		return true
	}
	s.add(now, rule, p)
	return false
}

// add counts what is not told by itself.
func (s *storm) add(now time.Time, rule string, p phase) {
	s.begin(now)
	if s.held[rule] == nil {
		if len(s.held) >= stormRules {
			s.more++
			return
		}
		if s.held == nil {
			s.held = map[string]*[3]int{}
		}
		s.held[rule] = &[3]int{}
	}
	s.held[rule][p]++
}

func (s *storm) begin(now time.Time) {
	if s.began.IsZero() {
		s.began = now
	}
}

// settle ends the window when its time has come.
func (s *storm) settle(now time.Time) {
	if s.began.IsZero() || now.Sub(s.began) < stormWindow {
		return
	}
	if len(s.held) > 0 {
		rules, count := map[string]any{}, s.more
		for name, n := range s.held {
			one := map[string]int{}
			for p, k := range n {
				if k > 0 {
					one[phase(p).String()] = k
				}
				count += k
			}
			rules[name] = one
		}
		s.tell("alert", map[string]any{"phase": "summary", "seconds": int(now.Sub(s.began).Seconds()), "count": count, "rules": rules})
	}
	s.began, s.sent, s.held, s.more = time.Time{}, 0, nil, 0
}

// next is when settle has something to tell, zero for never.
func (s *storm) next() time.Time {
	if len(s.held) == 0 {
		return time.Time{}
	}
	return s.began.Add(stormWindow)
}
