package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"holdfast/agent/link"
)

// A Step is one thing Probe did. Err is in words for the operator and wraps its cause.
type Step struct {
	Tried bool
	Took  time.Duration
	Err   error
}

// OK reports whether the step was tried and went well.
func (s Step) OK() bool { return s.Tried && s.Err == nil }

// A Subscription is what the broker said to one filter.
type Subscription struct {
	Filter string
	Step
}

// A Trial is what came of trying one broker. A step is tried only when those before it went well.
type Trial struct {
	Broker, Host string
	Secure       bool // by TLS; Handshake is tried only then

	Resolve, Dial, Handshake, Login, Publish Step

	Addresses     []string            // of the host
	Remote        string              // the address that answered
	Chain         []*x509.Certificate // as the broker showed it, its own first, trusted or not
	Protocol      string              // such as TLS 1.3
	Subscriptions []Subscription      // in the order of the session's filters, as far as the broker let us ask
	Watched       bool                // the broker let us subscribe to the publication's topic
	Returned      bool                // and handed the publication back: it did not drop it behind its acknowledgement
}

// Probe tries the first of o.Brokers once, with a clean session of its own named clientID, so that neither the agent's
// connection nor what the broker keeps for it is disturbed: name, TCP, TLS as the agent would judge it, CONNECT with the
// session's credentials, each of its filters, and the publication m. No step takes longer than limit. The error is about
// the options; what is wrong with the broker is in the trial.
func Probe(ctx context.Context, session link.Session, o Options, clientID string, m link.Message, limit time.Duration) (*Trial, error) {
	if len(o.Brokers) == 0 || o.Clock == nil {
		return nil, errors.New("mqtt: no broker or no clock given")
	}
	e, err := parseBroker(o.Brokers[0])
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	if session.ClientID = clientID; checkSession(session) != nil {
		return nil, fmt.Errorf("mqtt: %w", checkSession(session))
	}
	p := &probe{session: session, o: withDefaults(o), e: e, limit: limit, m: m,
		t: &Trial{Broker: e.url.String(), Host: e.host, Secure: e.tls}}
	p.o.WriteTimeout = min(p.o.WriteTimeout, limit)
	p.run(ctx)
	return p.t, nil
}

type probe struct {
	session link.Session
	o       Options
	e       endpoint
	limit   time.Duration
	m       link.Message
	t       *Trial

	conn   net.Conn
	wire   *wire
	packet uint16 // id of the last one sent
}

func (p *probe) run(ctx context.Context) {
	if !p.step(ctx, &p.t.Resolve, p.resolve) || !p.step(ctx, &p.t.Dial, p.dial) {
		return
	}
	defer func() { p.conn.Close() }()
	if p.e.tls && !p.step(ctx, &p.t.Handshake, p.handshake) {
		return
	}
	p.wire = newWire(p.conn, 2+topicBytes+2+payloadBytes, p.o.WriteTimeout)
	if !p.step(ctx, &p.t.Login, p.login) {
		return
	}
	defer p.wire.goodbye()
	for _, f := range p.session.Filters {
		s := Subscription{Filter: f}
		p.step(ctx, &s.Step, func(context.Context) error { return p.subscribe(f) })
		p.t.Subscriptions = append(p.t.Subscriptions, s)
		if s.Err != nil && !errors.Is(s.Err, errFilter) {
			return // the connection is gone
		}
	}
	// A broker without retained messages closes the connection on whoever asks too much, and needs no second look.
	if p.session.Limits.Retains {
		var own Step
		p.t.Watched = p.step(ctx, &own, func(context.Context) error { return p.subscribe(p.m.Topic) })
		if own.Err != nil && !errors.Is(own.Err, errFilter) {
			return
		}
	}
	if p.step(ctx, &p.t.Publish, func(context.Context) error { return p.publish() }) && p.t.Watched {
		var wait Step // what it comes to is in Returned
		p.step(ctx, &wait, func(context.Context) (err error) {
			for err == nil && !p.t.Returned {
				_, err = p.next()
			}
			return err
		})
	}
}

// step does f within the limit.
func (p *probe) step(ctx context.Context, s *Step, f func(ctx context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	began := time.Now()
	if p.conn != nil {
		conn := p.conn
		conn.SetReadDeadline(began.Add(p.limit))
		stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(began) }) // ctx may end before the limit
		defer stop()
	}
	s.Tried = true
	if s.Err = f(ctx); s.Err != nil {
		s.Err = explain(s.Err)
	}
	s.Took = time.Since(began)
	return s.Err == nil
}

func (p *probe) resolve(ctx context.Context) error {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.e.host)
	for _, a := range addresses[:min(len(addresses), 16)] {
		if s := a.Unmap().String(); !slices.Contains(p.t.Addresses, s) {
			p.t.Addresses = append(p.t.Addresses, s)
		}
	}
	return err
}

func (p *probe) dial(ctx context.Context) (err error) {
	if p.conn, err = p.o.Dial(ctx, p.e.addr); err == nil {
		p.t.Remote = p.conn.RemoteAddr().String()
	}
	return err
}

func (p *probe) handshake(ctx context.Context) error {
	config, err := (&files{o: p.o}).config(p.e.host)
	if err != nil {
		return err
	}
	judge := config.VerifyConnection
	config.VerifyConnection = func(s tls.ConnectionState) error {
		p.t.Chain = s.PeerCertificates
		if judge != nil {
			return judge(s)
		}
		return nil
	}
	t := tls.Client(p.conn, config)
	err = t.HandshakeContext(ctx)
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) {
		p.t.Chain = unverified.UnverifiedCertificates
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errEarly, err)
	}
	p.t.Protocol = tls.VersionName(t.ConnectionState().Version)
	if t.ConnectionState().Version >= tls.VersionTLS13 {
		err = p.verdict(t)
	}
	p.conn = t
	return err
}

// verdict waits for what the broker thinks of our certificate, which with TLS 1.3 comes when the handshake is over for
// us; whoever talks on may get a reset in its place. No word within two round trips is consent.
func (p *probe) verdict(t *tls.Conn) error {
	t.SetReadDeadline(time.Now().Add(min(2*p.t.Dial.Took+50*time.Millisecond, p.limit/2)))
	_, err := t.Read(make([]byte, 1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.SetReadDeadline(time.Now().Add(p.limit))
		return nil
	case err == nil:
		return errors.New("the broker speaks before it is spoken to: this is no MQTT")
	}
	return fmt.Errorf("%w: %w", errEarly, err)
}

func (p *probe) login(context.Context) error {
	c := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	c.ProtocolName, c.ProtocolVersion = "MQTT", 4
	c.ClientIdentifier, c.CleanSession, c.Keepalive = p.session.ClientID, true, 60
	if p.session.Credentials != nil {
		user, password, err := p.session.Credentials(p.o.Clock.Now())
		if err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		c.Username, c.UsernameFlag = user, user != ""
		c.Password, c.PasswordFlag = []byte(password), password != ""
	}
	if err := c.Write(p.wire); err != nil {
		return fmt.Errorf("%w: %w", errEarly, err)
	}
	answer, err := packets.ReadPacket(p.wire)
	if err != nil {
		return fmt.Errorf("%w: %w", errEarly, err)
	}
	if a, ok := answer.(*packets.ConnackPacket); ok && a.ReturnCode != packets.Accepted {
		return packets.ConnErrors[a.ReturnCode]
	}
	return nil // the wire passes nothing but CONNACK first
}

// errFilter means that the broker refused a filter and goes on.
var errFilter = errors.New("refused by the broker")

func (p *probe) subscribe(filter string) error {
	p.packet++
	s := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	s.MessageID, s.Topics, s.Qoss = p.packet, []string{filter}, []byte{0} // 0: what comes needs no answer
	p.wire.expect(1)
	if err := s.Write(p.wire); err != nil {
		return err
	}
	for {
		answer, err := p.next()
		if err != nil {
			return err
		}
		if a, ok := answer.(*packets.SubackPacket); ok && a.MessageID == p.packet {
			if len(a.ReturnCodes) != 1 || a.ReturnCodes[0] > 2 {
				return errFilter
			}
			return nil
		}
	}
}

func (p *probe) publish() error {
	p.packet++
	m := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	m.MessageID, m.Qos, m.TopicName, m.Payload = p.packet, 1, p.m.Topic, p.m.Payload
	if err := m.Write(p.wire); err != nil {
		return err
	}
	for {
		answer, err := p.next()
		if err != nil {
			return err
		}
		if a, ok := answer.(*packets.PubackPacket); ok && a.MessageID == p.packet {
			return nil
		}
	}
}

// next reads a packet, and takes note when it is the publication.
func (p *probe) next() (packets.ControlPacket, error) {
	packet, err := packets.ReadPacket(p.wire)
	if m, ok := packet.(*packets.PublishPacket); ok && m.TopicName == p.m.Topic && string(m.Payload) == string(p.m.Payload) {
		p.t.Returned = true
	}
	return packet, err
}
