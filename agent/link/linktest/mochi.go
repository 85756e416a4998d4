package linktest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"holdfast/agent/link"
)

// Mochi starts the broker that is built into the operator's tool.
func Mochi(t *testing.T, c Config) *Server {
	t.Helper()
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumClientWritesPending = 128
	server := mochi.New(&mochi.Options{
		Capabilities: capabilities, InlineClient: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err := server.AddHook(&gate{config: c}, nil); err != nil {
		t.Fatal(err)
	}
	lc := listeners.Config{ID: "test", Address: "127.0.0.1:0"}
	if c.PKI != nil {
		lc.TLSConfig = c.serverTLS(t)
	}
	l := listeners.NewTCP(lc)
	if err := server.AddListener(l); err != nil {
		t.Fatal(err)
	}
	s := &Server{TLS: c.PKI != nil}
	s.say = func(m link.Message) error { return server.Publish(m.Topic, m.Payload, m.Retain, m.QoS) }
	hear := func(_ *mochi.Client, _ packets.Subscription, pk packets.Packet) {
		s.hear(link.Message{Topic: pk.TopicName, Payload: append([]byte(nil), pk.Payload...), Retain: pk.FixedHeader.Retain})
	}
	for i, filter := range []string{"#", "$aws/#"} {
		if err := server.Subscribe(filter, i+1, hear); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	s.Addr = l.Address()
	return s
}

func (c Config) serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.serverPair(t))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.ClientCert {
		ca, err := os.ReadFile(c.PKI.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		config.ClientCAs = x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(ca) {
			t.Fatal(fmt.Errorf("no certificate in %s", c.PKI.CAFile))
		}
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}

// gate decides who comes in and what they may subscribe to.
type gate struct {
	mochi.HookBase
	config Config
}

func (*gate) ID() string { return "linktest" }

func (*gate) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }

func (g *gate) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	if g.config.Users == nil {
		return true
	}
	password, known := g.config.Users[string(pk.Connect.Username)]
	return known && password == string(pk.Connect.Password)
}

func (g *gate) OnACLCheck(_ *mochi.Client, topic string, write bool) bool {
	return write || g.config.Denied == "" || topic != g.config.Denied
}
