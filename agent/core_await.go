package agent

import (
	"context"
	"time"
)

// farewell says the last words: what is gathered goes to the drain, which sends or keeps it; then the cloud is told.
func (c *core) farewell(ctx context.Context) error {
	if c.rules != nil {
		c.rules.Rest()
	}
	c.reducer.flush(c.gather)
	c.flush()
	for _, p := range c.outbox.all() {
		c.puts <- p
	}
	close(c.puts) // nobody else is left to put anything
	if err := c.desired.rest(); err != nil {
		c.log.Warn("desired state", "err", err)
	}
	c.sendResult()
	c.await(ctx, c.drained, nil, func(settled) bool { return false })
	if !c.link.up {
		return nil
	}
	c.sayStatus(false, "stopped")
	limit, stop := c.clock.Timer(c.parts.Policy.FarewellLimit)
	defer stop()
	c.await(ctx, nil, limit, func(s settled) bool { return s.status })
	return nil
}

// await goes on with answers and reports until over, limit, the loss of the link after over, or what is enough.
func (c *core) await(ctx context.Context, over <-chan struct{}, limit <-chan time.Time, enough func(settled) bool) {
	for over != nil || c.link.up {
		select {
		case <-over:
			return
		case <-limit:
			return
		case <-ctx.Done():
			return
		case s := <-c.settled:
			if c.settle(s); enough(s) {
				return
			}
		case e := <-c.events:
			if e.Down != nil {
				c.wentDown(c.clock.Now(), e.Down)
			}
		}
	}
}
