package mqtt_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/agent/link/mqtt"
)

func probe(t testing.TB, s link.Session, o mqtt.Options, limit time.Duration) *mqtt.Trial {
	t.Helper()
	o.Clock = clock{}
	trial, err := mqtt.Probe(t.Context(), s, o, s.ClientID+"/doctor",
		link.Message{Topic: "holdfast/" + s.ClientID + "/event", Payload: []byte(`{"kind":"doctor"}`), QoS: 1}, limit)
	if err != nil {
		t.Fatal(err)
	}
	return trial
}

func plain(user, password string) link.Session {
	return link.Plain{Device: "dev", User: user, Password: password}.Session()
}

func TestProbeGoesAllTheWayAndLeavesTheAgentAlone(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, linktest.Config) *linktest.Server{
		"mochi": linktest.Mochi, "mosquitto": linktest.Mosquitto,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pki := linktest.NewPKI(t)
			cert, key := pki.Issue(t, "dev", time.Hour)
			s := start(t, linktest.Config{PKI: pki, ClientCert: true})
			o := mqtt.Options{Brokers: []string{s.URL(s.Addr)}, CAFile: pki.CAFile, CertFile: cert, KeyFile: key, Clock: clock{}}
			conn, err := mqtt.New(plain("", ""), o)
			if err != nil {
				t.Fatal(err)
			}
			d := linktest.Start(t, conn)
			defer d.Stop(t)
			d.Up(t, 0)
			trial := probe(t, plain("", ""), o, 20*time.Second)
			for step, s := range map[string]mqtt.Step{"resolve": trial.Resolve, "dial": trial.Dial, "handshake": trial.Handshake,
				"login": trial.Login, "publish": trial.Publish} {
				if !s.OK() {
					t.Errorf("%s: tried %t, %v", step, s.Tried, s.Err)
				}
			}
			if len(trial.Subscriptions) != 3 || !trial.Watched || !trial.Returned {
				t.Errorf("%d subscriptions, watched %t, returned %t", len(trial.Subscriptions), trial.Watched, trial.Returned)
			}
			if len(trial.Chain) == 0 || trial.Chain[0].Subject.CommonName != "broker" || trial.Protocol != "TLS 1.3" {
				t.Errorf("chain %v over %q", trial.Chain, trial.Protocol)
			}
			s.Say(t, link.Message{Topic: "holdfast/dev/command", Payload: []byte("still there"), QoS: 1})
			d.Message(t, 0, "still there")
			ups := 0
			for _, e := range d.Events() {
				if e.Up != nil {
					ups++
				}
			}
			if ups != 1 {
				t.Errorf("the agent connected %d times", ups)
			}
		})
	}
}

func TestProbeSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	silent := accept(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	for _, tt := range []struct {
		name   string
		server func(t *testing.T) string
		user   string
		check  func(t *testing.T, trial *mqtt.Trial)
	}{
		{"a filter is refused", func(t *testing.T) string {
			s := linktest.Mochi(t, linktest.Config{Denied: "holdfast/dev/command"})
			return s.URL(s.Addr)
		}, "", func(t *testing.T, trial *mqtt.Trial) {
			for i, want := range []string{"", "refused by the broker", ""} {
				if got := trial.Subscriptions[i].Err; want == "" && got != nil || want != "" && (got == nil || got.Error() != want) {
					t.Errorf("%s: %v, want %q", trial.Subscriptions[i].Filter, got, want)
				}
			}
			if !trial.Publish.OK() || !trial.Returned {
				t.Errorf("publish %v, returned %t", trial.Publish.Err, trial.Returned)
			}
		}},
		{"what is published is dropped", func(t *testing.T) string {
			s := linktest.Mosquitto(t, linktest.Config{Users: map[string]string{"dev": "secret"}, Access: "user dev\ntopic read holdfast/dev/#\n"})
			return s.URL(s.Addr)
		}, "dev", func(t *testing.T, trial *mqtt.Trial) {
			if !trial.Publish.OK() || !trial.Watched || trial.Returned {
				t.Errorf("publish %v, watched %t, returned %t", trial.Publish.Err, trial.Watched, trial.Returned)
			}
		}},
		{"a stranger", func(t *testing.T) string {
			s := linktest.Mochi(t, linktest.Config{Users: map[string]string{"dev": "other"}})
			return s.URL(s.Addr)
		}, "dev", func(t *testing.T, trial *mqtt.Trial) {
			if err := trial.Login.Err; err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("login: %v", err)
			}
			if len(trial.Subscriptions) > 0 || trial.Publish.Tried {
				t.Error("went on after the refusal")
			}
		}},
		{"nobody talks", func(*testing.T) string { return "mqtt://" + silent }, "", func(t *testing.T, trial *mqtt.Trial) {
			if err := trial.Login.Err; err == nil || !strings.Contains(err.Error(), "no answer") {
				t.Errorf("login: %v", err)
			}
		}},
		{"nobody talks TLS", func(*testing.T) string { return "mqtts://" + silent }, "", func(t *testing.T, trial *mqtt.Trial) {
			if err := trial.Handshake.Err; err == nil || !strings.Contains(err.Error(), "no answer") || trial.Login.Tried {
				t.Errorf("handshake: %v", err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			limit := 3 * time.Second // one publication is waited for in vain
			if strings.HasPrefix(tt.name, "nobody") {
				limit = 300 * time.Millisecond
			}
			tt.check(t, probe(t, plain(tt.user, map[bool]string{true: "secret"}[tt.user != ""]), mqtt.Options{Brokers: []string{tt.server(t)}}, limit))
		})
	}
}

// accept serves connections with f until the test ends, and returns the address.
func accept(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}

// FuzzProbe lets a broker say anything.
func FuzzProbe(f *testing.F) {
	f.Add([]byte{0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, 0x90, 3, 0, 2, 0x80, 0x90, 3, 0, 3, 0, 0x90, 3, 0, 4, 0, 0x40, 2, 0, 5})
	f.Add([]byte{0x20, 2, 0, 5})
	f.Add([]byte{0x20, 2, 0, 0, 0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		o := mqtt.Options{Brokers: []string{"mqtt://127.0.0.1"}, Dial: func(context.Context, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go io.Copy(io.Discard, theirs)
			go func() {
				theirs.Write(said)
				theirs.Close()
			}()
			return ours, nil
		}}
		trial := probe(t, plain("", ""), o, 10*time.Second)
		if trial.Publish.OK() && !trial.Login.OK() {
			t.Error("published without a login")
		}
	})
}
