package mqtt_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/agent/link/mqtt"
)

// session is what the tests of single traits connect with.
func session() link.Session { return link.Plain{Device: "dev"}.Session() }

// script is a broker that is played by a test, in memory: it gets every packet and writes raw bytes.
type script func(p packets.ControlPacket, answer net.Conn) (stay bool)

func (s script) dial(context.Context, string) (net.Conn, error) {
	device, broker := net.Pipe()
	go func() {
		defer broker.Close()
		for {
			p, err := packets.ReadPacket(broker)
			if err != nil || !s(p, broker) {
				return
			}
		}
	}()
	return device, nil
}

// obliging answers as brokers do.
func obliging(p packets.ControlPacket, answer net.Conn) bool {
	var reply packets.ControlPacket
	switch p := p.(type) {
	case *packets.ConnectPacket:
		reply = packets.NewControlPacket(packets.Connack)
	case *packets.SubscribePacket:
		ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		ack.MessageID, ack.ReturnCodes = p.MessageID, make([]byte, len(p.Topics))
		reply = ack
	case *packets.PublishPacket:
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = p.MessageID
		reply = ack
	case *packets.PingreqPacket:
		reply = packets.NewControlPacket(packets.Pingresp)
	default:
		return false
	}
	return reply.Write(answer) == nil
}

// start runs conn in a bubble, where an hour passes at once.
func start(t *testing.T, conn link.Conn) *linktest.Device {
	t.Helper()
	d := linktest.Start(t, conn)
	d.Patience = time.Hour
	return d
}

// patient are the options of a real device, before a broker of memory.
func patient(s script) mqtt.Options {
	return mqtt.Options{
		Brokers: []string{"mqtt://broker"}, Clock: clock{}, Dial: s.dial,
		Backoff: mqtt.Backoff{Rand: func() float64 { return 0.5 }},
	}
}

func TestBadBrokersAreRefusedAndSurvived(t *testing.T) {
	suback := func(codes ...byte) []byte { return append([]byte{0x90, byte(2 + len(codes)), 0, 1}, codes...) }
	for _, tt := range []struct {
		name    string
		connack []byte
		suback  []byte
		want    string
	}{
		{"wrong credentials", []byte{0x20, 2, 0, 4}, nil, "bad user name or password"},
		{"not authorised", []byte{0x20, 2, 0, 5}, nil, "not authorised"},
		{"client id", []byte{0x20, 2, 0, 2}, nil, "client id rejected"},
		{"unavailable", []byte{0x20, 2, 0, 3}, nil, "service unavailable"},
		{"version", []byte{0x20, 2, 0, 1}, nil, "does not speak MQTT 3.1.1"},
		{"return code of a later version", []byte{0x20, 2, 0, 0x87}, nil, "protocol violation"},
		{"long CONNACK", []byte{0x20, 0xff, 0xff, 0xff, 0x7f}, nil, "protocol violation"},
		{"endless length", []byte{0x20, 0xff, 0xff, 0xff, 0xff, 0x7f}, nil, "malformed length"},
		{"not MQTT", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), nil, "protocol violation"},
		{"message before CONNACK", []byte{0x30, 5, 0, 1, 'a', 'b', 'c'}, nil, "protocol violation"},
		{"second CONNACK", []byte{0x20, 2, 0, 0}, []byte{0x20, 2, 0, 0}, "protocol violation"},
		{"refused filter", []byte{0x20, 2, 0, 0}, suback(1, 0x80, 1), "refused by the broker"},
		{"more answers than filters", []byte{0x20, 2, 0, 0}, suback(1, 1, 1, 1), "protocol violation"},
		{"fewer answers than filters", []byte{0x20, 2, 0, 0}, suback(1), "refused by the broker"},
		{"qos 2", []byte{0x20, 2, 0, 0}, []byte{0x34, 5, 0, 1, 'a', 0, 1}, "protocol violation"},
		{"PUBREL", []byte{0x20, 2, 0, 0}, []byte{0x62, 2, 0, 1}, "protocol violation"},
		{"topic larger than any of ours", []byte{0x20, 2, 0, 0}, []byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff}, "protocol violation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				play := func(p packets.ControlPacket, answer net.Conn) bool {
					switch p.(type) {
					case *packets.ConnectPacket:
						_, err := answer.Write(tt.connack)
						return err == nil
					case *packets.SubscribePacket:
						_, err := answer.Write(tt.suback)
						return err == nil
					}
					return true
				}
				d := start(t, open(t, session(), patient(play)))
				text := d.Down(t, 0).Err.Error()
				if !strings.Contains(text, tt.want) || !strings.Contains(text, "mqtt://broker") {
					t.Errorf("down with %q, want %q", text, tt.want)
				}
				d.Down(t, d.Mark()) // and tries again
				d.Stop(t)
			})
		})
	}
}

func TestBackoffGrowsAndIsOnlyResetByALongSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reach atomic.Bool
		var life atomic.Int64
		play := func(p packets.ControlPacket, answer net.Conn) bool {
			if _, ok := p.(*packets.SubscribePacket); ok {
				time.AfterFunc(time.Duration(life.Load()), func() { answer.Close() })
			}
			return obliging(p, answer)
		}
		o := patient(play)
		o.Dial = func(ctx context.Context, a string) (net.Conn, error) {
			if !reach.Load() {
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}
			return script(play).dial(ctx, a)
		}
		d := start(t, open(t, session(), o))
		retry := func(want time.Duration) {
			t.Helper()
			mark := d.Mark()
			if got := d.Wait(t, "down", mark, func(e link.Event) bool { return e.Down != nil }).Down.Retry; got != want {
				t.Errorf("retry in %s, want %s", got, want)
			}
		}
		d.Down(t, 0)
		for _, seconds := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 150, 150} { // half the ceiling, as Rand says
			retry(seconds * time.Second)
		}
		life.Store(int64(10 * time.Second))
		reach.Store(true) // a broker that accepts and kicks must not cause a storm
		retry(150 * time.Second)
		life.Store(int64(61 * time.Second))
		retry(500 * time.Millisecond)
		reach.Store(false)
		retry(500 * time.Millisecond)
		retry(time.Second)
		d.Stop(t)
	})
}

func TestBrokersAreTriedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := patient(obliging)
		o.Brokers = []string{"mqtt://a", "tcp://b:99", "mqtt://c"}
		o.Dial = func(ctx context.Context, a string) (net.Conn, error) {
			if a == "c:1883" {
				return script(obliging).dial(ctx, a)
			}
			return nil, &net.DNSError{Err: "no such host", Name: a, IsNotFound: true}
		}
		d := start(t, open(t, session(), o))
		began := time.Now()
		if up := d.Up(t, 0); up.Broker != "mqtt://c" {
			t.Errorf("up at %s", up.Broker)
		}
		if text := d.Down(t, 0).Err.Error(); !strings.Contains(text, "mqtt://a: DNS: there is no a:1883") {
			t.Errorf("first: %q", text)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %s before every broker had its turn", waited)
		}
		d.Stop(t)
	})
}

func TestSilentBrokersAreFound(t *testing.T) {
	for _, tt := range []struct {
		name   string
		silent func(packets.ControlPacket) bool // packets that get no answer
		within time.Duration
	}{
		{"at CONNECT", func(p packets.ControlPacket) bool { _, ok := p.(*packets.ConnectPacket); return ok }, 31 * time.Second},
		{"at SUBSCRIBE", func(p packets.ControlPacket) bool { _, ok := p.(*packets.SubscribePacket); return ok }, 31 * time.Second},
		{"at PINGREQ", func(p packets.ControlPacket) bool { _, ok := p.(*packets.PingreqPacket); return ok }, 80 * time.Second},
		{"at PUBLISH", func(p packets.ControlPacket) bool { _, ok := p.(*packets.PublishPacket); return ok }, 61 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				play := func(p packets.ControlPacket, answer net.Conn) bool { return tt.silent(p) || obliging(p, answer) }
				conn := open(t, session(), patient(play))
				began := time.Now()
				d := start(t, conn)
				ended := make(chan error, 1)
				if tt.name == "at PUBLISH" {
					d.Up(t, 0)
					conn.Publish(link.Message{Topic: "a", QoS: 1}, func(err error) { ended <- err })
				}
				// The bubble's time passes while the test waits.
				d.Wait(t, "down", 0, func(e link.Event) bool { return e.Down != nil })
				if took := time.Since(began); took > tt.within {
					t.Errorf("found after %s, want %s", took, tt.within)
				}
				if tt.name == "at PUBLISH" && <-ended == nil {
					t.Error("acknowledged by nobody")
				}
				d.Stop(t)
			})
		})
	}
}

func TestSessionsAndOptionsAreChecked(t *testing.T) {
	good := brisk("mqtt://broker")
	for name, change := range map[string]func(*link.Session, *mqtt.Options){
		"no broker":        func(_ *link.Session, o *mqtt.Options) { o.Brokers = nil },
		"no scheme":        func(_ *link.Session, o *mqtt.Options) { o.Brokers = []string{"broker:1883"} },
		"websocket":        func(_ *link.Session, o *mqtt.Options) { o.Brokers = []string{"ws://broker"} },
		"path":             func(_ *link.Session, o *mqtt.Options) { o.Brokers = []string{"mqtt://broker/x"} },
		"password in URL":  func(_ *link.Session, o *mqtt.Options) { o.Brokers = []string{"mqtt://u:p@broker"} },
		"no host":          func(_ *link.Session, o *mqtt.Options) { o.Brokers = []string{"mqtt://:1883"} },
		"no clock":         func(_ *link.Session, o *mqtt.Options) { o.Clock = nil },
		"key alone":        func(_ *link.Session, o *mqtt.Options) { o.KeyFile = "k" },
		"no client id":     func(s *link.Session, _ *mqtt.Options) { s.ClientID = "" },
		"NUL in client id": func(s *link.Session, _ *mqtt.Options) { s.ClientID = "a\x00" },
		"wildcard in will": func(s *link.Session, _ *mqtt.Options) { s.Will = &link.Message{Topic: "a/+"} },
		"large will": func(s *link.Session, _ *mqtt.Options) {
			s.Will = &link.Message{Topic: "a", Payload: make([]byte, 65536)}
		},
		"wildcard in word":  func(s *link.Session, _ *mqtt.Options) { s.Filters = []string{"a/b+"} },
		"wildcard not last": func(s *link.Session, _ *mqtt.Options) { s.Filters = []string{"a/#/b"} },
		"empty filter":      func(s *link.Session, _ *mqtt.Options) { s.Filters = []string{""} },
		"no keep alive":     func(s *link.Session, _ *mqtt.Options) { s.KeepAlive = 0 },
	} {
		s, o := session(), good
		change(&s, &o)
		if _, err := mqtt.New(s, o); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("%s: the password is shown: %v", name, err)
		}
	}
	c := open(t, session(), good)
	for _, topic := range []string{"", "a/+", "#", "a\x00b", "\xff", strings.Repeat("a", 2000)} {
		var got error
		c.Publish(link.Message{Topic: topic}, func(err error) { got = err })
		if got == nil || got.Error() == link.ErrDown.Error() {
			t.Errorf("publish to %q: %v", topic, got)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0x30, 5, 0, 1, 'a', 'b', 'c', 0xD0, 0, 0x40, 2, 0, 1})
	f.Add(append([]byte{0x20, 2, 0, 0, 0x32, 0x90, 0x4e, 0, 1, 'a', 0, 1}, make([]byte, 10000)...))
	f.Add([]byte{0x20, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit, filters = 4096, 8
		r := mqtt.NewFilter(bytes.NewReader(in), limit, filters)
		for {
			// The library reads from it as from the network, and must come through.
			p, err := packets.ReadPacket(r)
			if err != nil {
				return
			}
			switch p := p.(type) {
			case *packets.PublishPacket:
				if p.Qos > 1 || len(p.TopicName)+len(p.Payload) > limit {
					t.Fatalf("passed a publication with qos %d of %d bytes", p.Qos, len(p.Payload))
				}
			case *packets.SubackPacket:
				if len(p.ReturnCodes) > filters {
					t.Fatalf("passed %d return codes", len(p.ReturnCodes))
				}
			case *packets.ConnackPacket:
				if p.ReturnCode > 5 {
					t.Fatalf("passed return code %d", p.ReturnCode)
				}
			case *packets.PubackPacket, *packets.PingrespPacket:
			default:
				t.Fatalf("passed %s", p)
			}
		}
	})
}
