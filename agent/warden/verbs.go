package warden

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"holdfast/actuators"
	"holdfast/board/strict"
)

// Verbs that every server has. They change nothing.
const (
	verbsVerb  = "warden.verbs"
	limitsVerb = "warden.limits"
)

func (s *Server) verbs() (actuators.Result, error) {
	return actuators.Result{"verbs": s.o.Set.Verbs()}, nil
}

// Left is how many deeds of a class may still be done now, and how long until one more may be.
type Left struct {
	Deeds   int     `json:"deeds"`
	Seconds float64 `json:"seconds"` // of uptime; 0 when some are left
}

func (s *Server) limits() actuators.Result {
	left := map[string]Left{}
	result := actuators.Result{"left": left}
	if s.o.Limiter == nil {
		return result
	}
	for _, class := range s.o.Limiter.Classes() {
		deeds, wait := s.o.Limiter.Left(class)
		left[class] = Left{deeds, wait.Round(time.Second).Seconds()}
	}
	if err := s.o.Limiter.Fault(); err != nil {
		result["fault"] = clip(err.Error())
	}
	return result
}

// Verbs asks the server what it may do and returns it as verbs whose Do asks the server.
func (c *Client) Verbs(ctx context.Context) ([]actuators.Verb, error) {
	var said struct {
		Verbs []actuators.Verb `json:"verbs"`
	}
	if err := c.learn(ctx, verbsVerb, &said); err != nil {
		return nil, err
	}
	return c.Remote(said.Verbs...), nil
}

// Limits asks the server what is left of each class, and what was wrong with the document it keeps the counts in: empty
// when nothing was.
func (c *Client) Limits(ctx context.Context) (left map[string]Left, fault string, err error) {
	var said struct {
		Left  map[string]Left `json:"left"`
		Fault string          `json:"fault"`
	}
	err = c.learn(ctx, limitsVerb, &said)
	return said.Left, said.Fault, err
}

func (c *Client) learn(ctx context.Context, verb string, said any) error {
	result, err := c.Do(ctx, verb, nil, "")
	if err != nil {
		return err
	}
	text, err := json.Marshal(result)
	if err == nil {
		err = strict.Unmarshal(text, said, strict.Limits{Bytes: 2 * resultBytes, Depth: 8, Members: 16384})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// Remote returns the verbs with a Do that asks the server, for a Set in a process without power.
func (c *Client) Remote(verbs ...actuators.Verb) []actuators.Verb {
	remote := make([]actuators.Verb, len(verbs))
	for i, v := range verbs {
		v.Do = func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			return c.Do(ctx, v.Name, args, actuators.Reason(ctx))
		}
		remote[i] = v
	}
	return remote
}
