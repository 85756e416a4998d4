// Package client is the operator's connection to a broker: MQTT 3.1.1 through paho, for one question and its answer
// (Dial) or for as long as it takes (Follow).
package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// ErrTimeout means that the broker did not answer in time.
var ErrTimeout = errors.New("no answer in time")

// ErrLost means that the connection ended before the deed was done.
var ErrLost = errors.New("connection lost")

// ErrDenied means that the broker refused the client or one of its subscriptions.
var ErrDenied = errors.New("refused by the broker")

// ErrOptions means that the options cannot be used; nothing was tried.
var ErrOptions = errors.New("connection options")

// Options say where the broker is and who we are.
type Options struct {
	Broker   string // mqtt://host[:1883] or mqtts://host[:8883]
	CA       string // file: who may have signed the broker's certificate; empty for the system's
	Cert     string // file: our certificate, with Key
	Key      string
	User     string
	Password string
	// ID is the client id. Empty makes a random one and a session that ends with the connection; with an ID the broker
	// keeps the session, and queues for us while we are away.
	ID      string
	Timeout time.Duration // for each answer of the broker; 10 s when 0
	// HoldAck leaves it to the receiver to acknowledge each message; else that is done when it enters the queue.
	HoldAck bool
}

// A Message is one that came in.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool   // the broker had kept it
	Ack      func() // tells the broker that we have it (HoldAck), never nil
}

// queue is how many messages wait for the receiver; then reading from the broker stops, and it queues for us.
const queue = 256

// A Client is one connection. It does not come back once it is lost.
type Client struct {
	mq       mqtt.Client
	timeout  time.Duration
	messages chan Message
	lost     chan struct{}
	why      error // of the loss, set before lost is closed
	end      context.CancelFunc
	resumed  bool
}

// Dial connects. The error wraps ErrOptions, ErrDenied or ErrTimeout where it is one of those.
func Dial(ctx context.Context, o Options) (*Client, error) {
	po, server, err := o.paho()
	if err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.Background())
	c := &Client{timeout: o.Timeout, messages: make(chan Message, queue), lost: make(chan struct{}), end: end}
	if c.timeout == 0 {
		c.timeout = 10 * time.Second
	}
	po.SetConnectTimeout(c.timeout)
	po.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
		// On paho's read path. It blocks while the queue is full, which is how the broker learns to wait.
		select {
		case c.messages <- Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Ack: acker(o, m)}:
		case <-life.Done():
		}
	})
	po.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		c.why = err
		close(c.lost)
	})
	c.mq = mqtt.NewClient(po)
	t := c.mq.Connect().(*mqtt.ConnectToken)
	if err := c.wait(ctx, t); err != nil {
		end()
		select {
		case <-t.Done(): // only then may the code be read
			err = reason(err, t.ReturnCode())
		default:
		}
		c.mq.Disconnect(0)
		return nil, fmt.Errorf("connect to %s: %w", server, err)
	}
	c.resumed = t.SessionPresent()
	return c, nil
}

func acker(o Options, m mqtt.Message) func() {
	if o.HoldAck {
		return m.Ack
	}
	return func() {}
}

func reason(err error, code byte) error {
	if code > 0 && code <= 5 {
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return err
}

// Resumed reports whether the broker had kept our session.
func (c *Client) Resumed() bool { return c.resumed }

// Messages are those of every subscription, in the order they came.
func (c *Client) Messages() <-chan Message { return c.messages }

// Lost is closed when the connection has ended by itself; Why then says of what.
func (c *Client) Lost() <-chan struct{} { return c.lost }

// Why returns what ended the connection. Call it after Lost is closed.
func (c *Client) Why() error { return fmt.Errorf("%w: %w", ErrLost, c.why) }

// Subscribe asks for the filters with QoS 1. A filter the broker does not grant is an error that names it.
func (c *Client) Subscribe(ctx context.Context, filters ...string) error {
	// Eight a packet: some brokers take no more.
	for len(filters) > 0 {
		n := min(8, len(filters))
		ask := make(map[string]byte, n)
		for _, f := range filters[:n] {
			ask[f] = 1
		}
		t := c.mq.SubscribeMultiple(ask, nil).(*mqtt.SubscribeToken)
		err := c.wait(ctx, t)
		for f, granted := range t.Result() {
			if granted > 2 {
				return fmt.Errorf("subscribe to %s: %w", f, ErrDenied)
			}
		}
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", strings.Join(filters[:n], ", "), err)
		}
		filters = filters[n:]
	}
	return nil
}

// Retained subscribes to the filters and returns what the broker had kept for them; what is published later comes
// through Messages. MQTT does not say where the kept messages end, so a message of our own marks it: brokers answer a
// connection in order. One that does not let us have that message costs two seconds instead.
func (c *Client) Retained(ctx context.Context, filters ...string) ([]Message, error) {
	mark := "holdfast/ctl/" + rand.Text()
	if err := c.Subscribe(ctx, filters...); err != nil {
		return nil, err
	}
	asked := make(chan error, 1)
	go func() {
		err := c.Subscribe(ctx, mark)
		if err == nil {
			err = c.Publish(ctx, mark, []byte("{}"), false)
		}
		asked <- err
	}()
	var late <-chan time.Time
	var kept []Message
	for {
		select {
		case m := <-c.messages:
			if m.Topic == mark {
				return kept, nil
			}
			kept = append(kept, m)
		case err := <-asked:
			if err != nil && !errors.Is(err, ErrDenied) {
				return kept, err
			}
			t := time.NewTimer(2 * time.Second)
			defer t.Stop()
			late = t.C
		case <-late:
			return kept, nil
		case <-c.lost:
			return kept, c.Why()
		case <-ctx.Done():
			return kept, ctx.Err()
		}
	}
}

// Publish returns when the broker has acknowledged the message (QoS 1).
func (c *Client) Publish(ctx context.Context, topic string, payload []byte, retain bool) error {
	if err := c.wait(ctx, c.mq.Publish(topic, 1, retain, payload)); err != nil {
		return fmt.Errorf("publish %s: %w", topic, err)
	}
	return nil
}

// Close ends the connection in order, so that what was acknowledged is known to the broker.
func (c *Client) Close() {
	c.end()
	c.mq.Disconnect(250)
}

func (c *Client) wait(ctx context.Context, t mqtt.Token) error {
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case <-c.lost:
		return c.Why()
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ErrTimeout
	}
}

// paho returns the options as paho wants them, and the broker's name for messages.
func (o *Options) paho() (*mqtt.ClientOptions, string, error) {
	u, err := o.server()
	if err != nil {
		return nil, "", err
	}
	p := mqtt.NewClientOptions()
	p.AddBroker(u.String())
	p.SetProtocolVersion(4)
	p.SetAutoReconnect(false)
	p.SetConnectRetry(false)
	p.SetStore(mqtt.NewOrderedMemoryStore())
	p.SetKeepAlive(30 * time.Second)
	p.SetPingTimeout(10 * time.Second)
	p.SetWriteTimeout(10 * time.Second)
	p.SetAutoAckDisabled(o.HoldAck)
	p.SetUsername(o.User)
	p.SetPassword(o.Password)
	p.SetCleanSession(o.ID == "")
	p.SetClientID(o.ID)
	if o.ID == "" {
		p.SetClientID("holdfastctl-" + rand.Text()[:13])
	}
	if u.Scheme == "ssl" {
		c, err := o.tls(u.Hostname())
		if err != nil {
			return nil, "", err
		}
		p.SetTLSConfig(c)
	}
	return p, u.Host, nil
}

func (o *Options) server() (*url.URL, error) {
	text := o.Broker
	if !strings.Contains(text, "://") {
		text = "mqtt://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("%w: broker %q: not of the form mqtt://host:1883 or mqtts://host:8883", ErrOptions, o.Broker)
	}
	port := u.Port()
	secure := false
	switch u.Scheme {
	case "mqtt", "tcp":
	case "mqtts", "ssl", "tls":
		secure = true
	default:
		return nil, fmt.Errorf("%w: broker %q: scheme %s is not mqtt or mqtts", ErrOptions, o.Broker, u.Scheme)
	}
	if !secure && (o.CA != "" || o.Cert != "") {
		return nil, fmt.Errorf("%w: a CA or certificate was given, but %s is not mqtts://", ErrOptions, o.Broker)
	}
	scheme := "tcp"
	if secure {
		scheme = "ssl"
	}
	if port == "" {
		port = map[bool]string{false: "1883", true: "8883"}[secure]
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return &url.URL{Scheme: scheme, Host: host + ":" + port}, nil
}

func (o *Options) tls(name string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("%w: CA: %w", ErrOptions, err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: CA: %s: no certificate in it", ErrOptions, o.CA)
		}
	}
	if (o.Cert == "") != (o.Key == "") {
		return nil, fmt.Errorf("%w: a certificate needs its key, and a key its certificate", ErrOptions)
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate: %w", ErrOptions, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Denied reports whether err is the broker's refusal of name, password or certificate.
func Denied(err error) bool {
	return errors.Is(err, ErrDenied) || errors.Is(err, packets.ErrorRefusedNotAuthorised) ||
		errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword)
}
