package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdfast/agent/link"
)

// publish hands over a message of the core's own. Its end comes back through settled if it bears a mark, also when it is
// known before Publish returns: there is room for all that are awaited, so that nobody waits for the core, which may be
// the one that calls.
func (c *core) publish(m link.Message, mark settled) {
	if mark == (settled{}) {
		c.parts.Conn.Publish(m, func(error) {})
		return
	}
	if c.awaited >= cap(c.settled) {
		mark.err = fmt.Errorf("%w: too much is under way", link.ErrDown)
		c.close(mark)
		return
	}
	c.awaited++
	c.parts.Conn.Publish(m, func(err error) {
		mark.err = err
		c.settled <- mark
	})
}

func (c *core) sayStatus(online bool, reason string) {
	m, err := c.parts.Dialect.Encode(link.Outbound{Status: &link.Status{Online: online, Since: c.clock.Now().UTC().Truncate(time.Second),
		Agent: c.parts.Version, Reason: reason}})
	if err != nil {
		c.log.Warn("status", "err", err)
		return
	}
	c.publish(m, settled{status: !online})
}

// answer queues a command's answer.
func (c *core) answer(body json.RawMessage) {
	if len(c.results) >= maxResults {
		c.results = slices.Delete(c.results, 0, 1)
		c.flying = 0
	}
	c.results = append(c.results, body)
	c.sendResult()
}

// sendResult sends the oldest answer, one at a time.
func (c *core) sendResult() {
	for c.flying == 0 && c.link.up && len(c.results) > 0 {
		m, err := c.parts.Dialect.Encode(link.Outbound{Result: c.results[0]})
		if err != nil {
			c.unfit(err)
			continue
		}
		c.attempt++
		c.flying = c.attempt
		c.publish(m, settled{result: c.attempt})
		return
	}
}

const unfitText = "done, but the answer cannot be sent: it is too large"

// unfit puts a short answer in the place of one that cannot be sent.
func (c *core) unfit(err error) {
	var old answer
	_ = json.Unmarshal(c.results[0], &old) // our own words; without an id there is nobody to tell
	c.log.Warn("answer dropped", "id", old.ID, "err", err)
	body, _ := json.Marshal(answer{ID: old.ID, Error: unfitText}) // two texts always marshal
	if old.ID == "" || old.Error == unfitText {
		c.results = slices.Delete(c.results, 0, 1)
		return
	}
	c.results[0] = body
}

// settle closes a publication that was awaited.
func (c *core) settle(s settled) {
	c.awaited--
	c.close(s)
}

func (c *core) close(s settled) {
	switch {
	case s.result != 0 && s.result == c.flying:
		c.flying = 0
		switch {
		case s.err == nil:
			c.results = slices.Delete(c.results, 0, 1)
		case errors.Is(s.err, link.ErrDown): // sent again when the link is back, or at the next tick
			return
		default:
			c.unfit(s.err)
		}
		c.sendResult()
	case s.job:
		c.job.settle(s.err)
		if s.err == nil {
			c.sendJob()
		}
	case s.report != "":
		c.reported.published(s.report, s.err, c.parts.Dialect.Session().Limits.AnswersState)
		if s.err == nil {
			c.report(c.clock.Now())
		}
	}
}

// jobState is the status of the last update job: a value, of which only the newest counts.
type jobState struct {
	body   json.RawMessage
	unsent bool
	flying bool
}

// again has it sent once more: another broker may not have it.
func (j *jobState) again() { j.unsent, j.flying = j.body != nil, false }

func (j *jobState) settle(err error) {
	j.flying = false
	j.unsent = j.unsent || errors.Is(err, link.ErrDown)
}

// sayJob publishes the status of an update job, now or when the link is up.
func (c *core) sayJob(body json.RawMessage) {
	c.job.body, c.job.unsent = body, true
	c.sendJob()
}

func (c *core) sendJob() {
	if !c.job.unsent || c.job.flying || !c.link.up {
		return
	}
	c.job.unsent = false
	m, err := c.parts.Dialect.Encode(link.Outbound{JobStatus: c.job.body})
	if err != nil {
		c.log.Warn("job status", "err", err)
		return
	}
	c.job.flying = true
	c.publish(m, settled{job: true})
}
