package demo

import (
	"context"
	"fmt"
	"time"

	"holdfast/cmd/holdfastctl/internal/message"
)

// rules are the agent's: that a limit of the shadow is crossed is noticed, reminded of every two seconds, and cleared.
const rules = `@name('memory-over-limit') @severity('warning') @remind(2 sec)
@description('memory is {used} % used, and the limit is {percent} %')
select limit('memory') as percent, memoryUtilization as used from DeviceStatus(memoryUtilization > limit('memory'));

@name('memory-in-limit') @clear('memory-over-limit')
select memoryUtilization as used from DeviceStatus(memoryUtilization <= limit('memory'));
`

// An alert is one event of an alert's life.
type alert struct {
	Kind        string    `json:"kind"`
	Phase       string    `json:"phase"`
	Rule        string    `json:"rule"`
	Description string    `json:"description"`
	By          string    `json:"by"`
	Count       int       `json:"count"`
	Time        time.Time `json:"time"`
}

// alarm desires a limit that this machine is above for certain, sees the agent's rule raise an alert and remind of it, and
// ends the episode.
func (s *stage) alarm(ctx context.Context) (string, error) {
	if n := len(s.watch.alerts); n > 0 {
		return "", fmt.Errorf("there was an alert before: %s %s", s.watch.alerts[0].Phase, message.Clean(s.watch.alerts[0].Rule, 60))
	}
	s.tell.say("A rule on the device compares memory with the limit that the shadow names.")
	s.tell.command("shadow set demo memory=1")
	if _, err := s.write(ctx, map[string]any{"memory": 1}); err != nil {
		return "", err
	}
	raised, err := s.phase(ctx, 0, "raised")
	if err != nil {
		return "", err
	}
	s.tell.fact("raised", "%s: %s", message.Clean(raised.Rule, 60), message.Clean(raised.Description, 100))
	reminded, err := s.phase(ctx, 1, "reminded")
	if err != nil {
		return "", err
	}
	s.tell.fact("reminded", "%.1f s later; the rule has matched %d times", reminded.Time.Sub(raised.Time).Seconds(), reminded.Count)
	s.tell.command("shadow set demo memory=100")
	if _, err := s.write(ctx, map[string]any{"memory": 100}); err != nil {
		return "", err
	}
	last := func() alert { return s.watch.alerts[len(s.watch.alerts)-1] }
	if err := s.await(ctx, "the alert cleared", func() bool { return last().Phase == "cleared" }); err != nil {
		return "", err
	}
	for _, a := range s.watch.alerts[1:] {
		if a.Phase == "raised" {
			return "", fmt.Errorf("one episode should raise one alert: %s was raised, too", message.Clean(a.Rule, 60))
		}
	}
	cleared := last()
	s.tell.fact("cleared", "by %s, after %d matches", message.Clean(cleared.By, 60), cleared.Count)
	return fmt.Sprintf("raised once, reminded, cleared: %d matches in %.1f s", cleared.Count, cleared.Time.Sub(raised.Time).Seconds()), nil
}

// phase waits for the alert's n-th event, which is to be of a phase.
func (s *stage) phase(ctx context.Context, n int, phase string) (alert, error) {
	if err := s.await(ctx, "the alert "+phase, func() bool { return len(s.watch.alerts) > n }); err != nil {
		return alert{}, err
	}
	a := s.watch.alerts[n]
	if a.Phase != phase || a.Rule != "memory-over-limit" {
		return a, fmt.Errorf("the alert should be %s: it is %s, of %s", phase, message.Clean(a.Phase, 20), message.Clean(a.Rule, 60))
	}
	return a, nil
}
