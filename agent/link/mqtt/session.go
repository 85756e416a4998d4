package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"holdfast/agent/link"
)

// A session is one attempt and, if it succeeds, one connection.
type session struct {
	c       *Conn
	broker  endpoint
	senders *sync.WaitGroup
	client  paho.Client
	inbound chan link.Message // unbuffered: the library acknowledges a message when the loop has taken it
	lost    chan error        // 1: the library's last word
	out     *outbox

	mu   sync.Mutex // the library opens the wire on a goroutine of its own
	wire *wire
	shut error         // why; nil while it may be open
	gone chan struct{} // closed with shut: handlers give up
}

func newSession(c *Conn, broker endpoint, senders *sync.WaitGroup) *session {
	return &session{
		c: c, broker: broker, senders: senders, out: newOutbox(c),
		inbound: make(chan link.Message), lost: make(chan error, 1), gone: make(chan struct{}),
	}
}

// run connects, subscribes and serves until the connection is over. lived is 0 when it never came up.
func (s *session) run(ctx context.Context, on func(link.Event)) (lived time.Duration, err error) {
	resumed, err := s.connect(ctx, on)
	if err != nil {
		return 0, err
	}
	if err = s.subscribe(ctx, on); err != nil {
		return 0, s.end(err)
	}
	began := s.c.o.Clock.Now()
	s.senders.Go(func() { s.out.send(s.client) })
	s.senders.Go(s.out.settle)
	s.c.serve(s.out)
	on(link.Event{Up: &link.Up{Resumed: resumed, Broker: s.broker.url.String()}})
	err = s.watch(ctx, on)
	lived = s.c.o.Clock.Now().Sub(began)
	s.c.serve(nil)
	err = s.end(err)
	close(s.out.over)
	return lived, err
}

// connect returns when the broker has accepted the session; otherwise nothing is left open or running.
func (s *session) connect(ctx context.Context, on func(link.Event)) (resumed bool, err error) {
	o, err := s.options(ctx)
	if err != nil {
		return false, err
	}
	s.client = paho.NewClient(o)
	token := s.client.Connect()
	if err = s.await(ctx, on, token.Done(), 0); err != nil {
		s.close(err)
		<-token.Done() // the wire is closed and the dialler was told
		if token.Error() == nil {
			err = s.end(err)
		}
		return false, err
	}
	if err = token.Error(); err != nil {
		s.close(err)
		return false, fmt.Errorf("%w: %w", last(err), errEarly)
	}
	t, ok := token.(*paho.ConnectToken)
	return ok && t.SessionPresent(), nil
}

// last returns the cause the library wrapped into an error of its own.
func last(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		if causes := joined.Unwrap(); len(causes) > 0 {
			return causes[len(causes)-1]
		}
	}
	return err
}

// options configures the library for one connection, without any of its own patience or memory.
func (s *session) options(ctx context.Context) (*paho.ClientOptions, error) {
	d := s.c.session
	o := paho.NewClientOptions()
	o.Servers = []*url.URL{s.broker.url}
	o.SetClientID(d.ClientID).SetCleanSession(d.Clean).SetKeepAlive(d.KeepAlive).SetProtocolVersion(4)
	o.SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(true).SetStore(paho.NewOrderedMemoryStore())
	o.SetConnectTimeout(s.c.o.ConnectTimeout).SetWriteTimeout(s.c.o.WriteTimeout).SetPingTimeout(s.c.o.WriteTimeout)
	if d.Will != nil {
		o.SetBinaryWill(d.Will.Topic, d.Will.Payload, d.Will.QoS, d.Will.Retain)
	}
	if d.Credentials != nil {
		user, password, err := d.Credentials(s.c.o.Clock.Now())
		if err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		o.SetUsername(user).SetPassword(password)
	}
	// The default handler is the only route, and is there before the broker can send what it kept.
	o.SetDefaultPublishHandler(s.handle)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { s.lost <- err })
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return s.open(ctx) })
	return o, nil
}

// open dials on the library's goroutine. s.close cuts it short.
func (s *session) open(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.o.ConnectTimeout)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.gone:
			cancel()
		case <-stop:
		}
	}()
	conn, err := s.c.dial(ctx, s.broker)
	if err != nil {
		return nil, err
	}
	limit := 2 + topicBytes + 2 + s.c.payloadLimit() + 1
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut != nil {
		conn.Close()
		return nil, s.shut
	}
	s.wire = newWire(conn, limit, s.c.o.WriteTimeout)
	return s.wire, nil
}

// handle runs on the library's router. While it waits, nothing more is read from the broker.
func (s *session) handle(_ paho.Client, m paho.Message) {
	select {
	case s.inbound <- link.Message{Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retain: m.Retained()}:
	case <-s.gone: // the wire is closed, so that it is not acknowledged and comes again
	}
}

// subscribe returns when the broker has granted every filter.
func (s *session) subscribe(ctx context.Context, on func(link.Event)) error {
	for filters := range slices.Chunk(s.c.session.Filters, filtersAPacket) {
		qos := make(map[string]byte, len(filters))
		for _, f := range filters {
			qos[f] = 1
		}
		s.wire.expect(len(qos))
		token := s.client.SubscribeMultiple(qos, nil)
		if err := s.await(ctx, on, token.Done(), s.c.o.ConnectTimeout); err != nil {
			return err
		}
		if err := token.Error(); err != nil {
			return fmt.Errorf("subscribe: %w: %w", errLost, err)
		}
		granted := token.(*paho.SubscribeToken).Result()
		for _, f := range filters {
			if q, answered := granted[f]; !answered || q > 1 {
				return fmt.Errorf("subscription to %s refused by the broker", f)
			}
		}
	}
	return nil
}

// watch serves until the connection is over, and says why.
func (s *session) watch(ctx context.Context, on func(link.Event)) error {
	for {
		err := s.await(ctx, on, nil, s.c.o.FilePeriod)
		if !errors.Is(err, errNoAnswer) {
			return err
		}
		if s.broker.tls && s.c.files.changed(s.c.o.Log) {
			return errFiles
		}
	}
}

// await passes messages on until done is closed, and returns an error when the session cannot go on, which is
// errNoAnswer after limit. No limit is set by 0.
func (s *session) await(ctx context.Context, on func(link.Event), done <-chan struct{}, limit time.Duration) error {
	var fired <-chan time.Time
	if limit > 0 {
		timer, stop := s.c.o.Clock.Timer(limit)
		defer stop()
		fired = timer
	}
	for {
		select {
		case m := <-s.inbound:
			on(link.Event{Message: &m})
		case <-done:
			return nil
		case err := <-s.lost:
			s.lost <- err // for end
			return errLost
		case <-s.out.late:
			return errAckLate
		case <-s.c.kick:
			return errKicked
		case <-ctx.Done():
			return errStopped
		case <-fired:
			return errNoAnswer
		}
	}
}

// close ends the wire, now or as soon as it is opened.
func (s *session) close(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut != nil {
		return
	}
	s.shut = why
	if s.wire != nil {
		s.wire.shut(why)
	}
	close(s.gone)
}

// end closes a session that was accepted and returns when the library's goroutines are gone. One that does not let go
// is left behind: an agent that waits for it would be lost too. cause is why, or what was wrong before we knew.
func (s *session) end(why error) (cause error) {
	if errors.Is(why, errStopped) || errors.Is(why, errKicked) || errors.Is(why, errFiles) {
		s.wire.goodbye() // on purpose: the will stays unsaid
		s.depart()
	}
	s.close(why)
	fired, stop := s.c.o.Clock.Timer(3 * s.c.o.WriteTimeout)
	defer stop()
	select {
	case cause = <-s.lost:
	case <-fired:
		s.c.o.Log.Error("mqtt library does not let go of a closed connection", "broker", s.broker.url.String())
	}
	if errors.Is(why, errLost) && cause != nil {
		return cause
	}
	return why
}

// depart waits for the broker to close, for as long as is polite: closing first would send a reset, which can overtake
// the goodbye. What still arrives is not acknowledged and comes again.
func (s *session) depart() {
	fired, stop := s.c.o.Clock.Timer(farewell)
	defer stop()
	for {
		select {
		case <-s.inbound:
		case err := <-s.lost:
			s.lost <- err
			return
		case <-fired:
			return
		}
	}
}
