package mqtt

import (
	"fmt"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"holdfast/agent/link"
	"holdfast/board"
)

type publication struct {
	m    link.Message
	done func(error)
}

type pending struct {
	token paho.Token
	done  func(error)
}

// An outbox carries publications to one connection. Every publication that entered the queue has its done called once:
// by send while it waits in the queue, by settle after it was handed to the library.
type outbox struct {
	queue  chan publication // what Publish may put down without waiting: twice the window, the agent keeps to one
	flight chan pending     // the window
	over   chan struct{}    // closed when the session is over; nothing enters the queue any more
	late   chan struct{}    // 1: the oldest publication is not acknowledged
	clock  board.Clock
	limit  time.Duration
}

const window = 16 // publications in flight where the dialect does not say

func newOutbox(c *Conn) *outbox {
	n := c.session.Limits.InFlight
	if n <= 0 {
		n = window
	}
	return &outbox{
		queue: make(chan publication, 2*n), flight: make(chan pending, n), over: make(chan struct{}),
		late: make(chan struct{}, 1), clock: c.o.Clock, limit: c.o.AckTimeout,
	}
}

// send hands publications to the library until the session is over. The library may hold it for a WriteTimeout.
func (o *outbox) send(client paho.Client) {
	defer close(o.flight)
	for {
		select {
		case p := <-o.queue:
			o.flight <- pending{client.Publish(p.m.Topic, p.m.QoS, p.m.Retain, p.m.Payload), p.done}
		case <-o.over:
			for {
				select {
				case p := <-o.queue:
					p.done(link.ErrDown)
				default:
					return
				}
			}
		}
	}
}

// settle waits for the acknowledgements, oldest first: the broker sends them in the order of the publications
// (MQTT 3.1.1, 4.6). One that comes out of order only waits for its elders.
func (o *outbox) settle() {
	for p := range o.flight {
		o.await(p.token)
		p.done(verdict(p.token))
	}
}

// await returns when token is complete or the session is over.
func (o *outbox) await(token paho.Token) {
	select {
	case <-token.Done():
		return
	default:
	}
	fired, stop := o.clock.Timer(o.limit)
	defer stop()
	for {
		select {
		case <-token.Done():
			return
		case <-o.over:
			return
		case <-fired:
			select {
			case o.late <- struct{}{}:
			default:
			}
			fired = nil
		}
	}
}

// verdict says how a publication ended. The library never completes the tokens of a lost connection that was to keep
// its session, so an open one means that the connection is gone.
func verdict(token paho.Token) error {
	select {
	case <-token.Done():
		if err := token.Error(); err != nil {
			return fmt.Errorf("%w: %w", link.ErrDown, err)
		}
		return nil
	default:
		return link.ErrDown
	}
}
