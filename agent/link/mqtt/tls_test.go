package mqtt_test

import (
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/agent/link/mqtt"
)

// reason returns why the first attempt came to nothing.
func reason(t *testing.T, o mqtt.Options) string {
	t.Helper()
	d := linktest.Start(t, open(t, session(), o))
	defer d.Stop(t)
	return d.Down(t, 0).Err.Error()
}

func TestRefusalsAreInWords(t *testing.T) {
	t.Parallel()
	pki, stranger := linktest.NewPKI(t), linktest.NewPKI(t)
	cert, key := pki.Issue(t, "dev", time.Hour)
	oldCert, oldKey := pki.Issue(t, "expired-dev", -time.Hour)
	strangeCert, strangeKey := stranger.Issue(t, "dev", time.Hour)
	brokerCert, brokerKey := pki.Issue(t, "old-broker", -time.Hour)
	otherCert, otherKey := pki.Issue(t, "other-broker", time.Hour, "broker.example")
	plain := linktest.Mochi(t, linktest.Config{})
	mtls := linktest.Mosquitto(t, linktest.Config{PKI: pki, ClientCert: true})
	expired := linktest.Mochi(t, linktest.Config{PKI: pki, CertFile: brokerCert, KeyFile: brokerKey})
	misnamed := linktest.Mochi(t, linktest.Config{PKI: pki, CertFile: otherCert, KeyFile: otherKey})
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused.Close()

	for _, tt := range []struct {
		name   string
		broker string
		change func(*mqtt.Options)
		want   string
	}{
		{"nothing listens", "mqtt://" + unused.Addr().String(), nil, "TCP: connection refused"},
		{"no such name", "mqtt://no-such-host.invalid", nil, "DNS: "},
		{"TLS to a plain port", "mqtts://" + plain.Addr, nil, "TLS on one side only"},
		{"plain to a TLS port", "mqtt://" + mtls.Addr, nil, "TLS on one side only"},
		{"unknown authority", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.CAFile = stranger.CAFile }, "unknown authority"},
		{"expired", expired.URL(expired.Addr), nil, "expired"},
		{"name mismatch", misnamed.URL(misnamed.Addr), nil, "name mismatch"},
		{"no certificate of ours", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.CertFile, o.KeyFile = "", "" }, "wants a certificate"},
		{"our certificate expired", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.CertFile, o.KeyFile = oldCert, oldKey }, "our certificate has expired"},
		{"our authority unknown", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.CertFile, o.KeyFile = strangeCert, strangeKey }, "does not know the authority"},
		{"no CA file", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.CAFile += ".gone" }, "no such file"},
		{"no key in CA file", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.CAFile = key }, "no certificate in CA file"},
		{"key of another", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.KeyFile = strangeKey }, "does not match"},
		{"name given", misnamed.URL(misnamed.Addr), func(o *mqtt.Options) { o.ServerName = "broker.example" }, ""},
		{"all in order", mtls.URL(mtls.Addr), nil, ""},
		{"clock in 1970", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.Clock = epoch{clock{untrusted: true}, time.Now()} }, ""},
		{"clock in 1970, broker expired", expired.URL(expired.Addr), func(o *mqtt.Options) {
			o.Clock, o.Earliest = epoch{clock{untrusted: true}, time.Now()}, time.Now()
		}, "expired"},
		{"clock in 1970, unknown authority", mtls.URL(mtls.Addr), func(o *mqtt.Options) {
			o.Clock, o.CAFile = epoch{clock{untrusted: true}, time.Now()}, stranger.CAFile
		}, "unknown authority"},
		{"clock in 1970, name mismatch", misnamed.URL(misnamed.Addr), func(o *mqtt.Options) {
			o.Clock = epoch{clock{untrusted: true}, time.Now()}
		}, "name mismatch"},
		{"trusted clock in 1970", mtls.URL(mtls.Addr), func(o *mqtt.Options) { o.Clock = epoch{clock{}, time.Now()} }, "clock is wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := brisk(tt.broker)
			o.CAFile, o.CertFile, o.KeyFile = pki.CAFile, cert, key
			if tt.change != nil {
				tt.change(&o)
			}
			if tt.want == "" {
				d := linktest.Start(t, open(t, session(), o))
				d.Up(t, 0)
				return
			}
			// The verdict on our certificate may be lost in the reset that follows it.
			text := reason(t, o)
			if strings.Contains(tt.name, "our") && strings.Contains(text, "a certificate it does not accept") {
				return
			}
			if !strings.Contains(text, tt.want) {
				t.Errorf("down with %q, want %q", text, tt.want)
			}
		})
	}
}

// epoch is the clock of a board without a battery.
type epoch struct {
	clock
	booted time.Time
}

func (e epoch) Now() time.Time { return time.Unix(0, 0).Add(time.Since(e.booted)) }

func TestRotatedCertificatesMakeANewConnection(t *testing.T) {
	t.Parallel()
	pki := linktest.NewPKI(t)
	s := linktest.Mosquitto(t, linktest.Config{PKI: pki, ClientCert: true})
	o := brisk(s.URL(s.Addr))
	o.CAFile = pki.CAFile
	o.CertFile, o.KeyFile = pki.Issue(t, "dev", time.Hour)
	warned := make(chan struct{}, 100)
	o.Log = slog.New(slog.NewTextHandler(signal(warned), &slog.HandlerOptions{Level: slog.LevelWarn}))
	d := linktest.Start(t, open(t, session(), o))
	d.Up(t, 0)

	mark := d.Mark()
	pki.Issue(t, "dev", 2*time.Hour)
	if down := d.Down(t, mark); !strings.Contains(down.Err.Error(), "certificate files changed") {
		t.Errorf("down with %v", down.Err)
	}
	d.Up(t, mark)

	// Half of a rotation: the connection stays, and so does the good pair when the connection is lost meanwhile.
	mark = d.Mark()
	if err := os.WriteFile(o.CertFile, []byte("-----BEGIN CERT"), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case <-warned:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody looks at the files")
	}
	s.Say(t, link.Message{Topic: "holdfast/dev/command", Payload: []byte("meanwhile"), QoS: 1})
	d.Message(t, mark, "meanwhile")
	for _, e := range d.Events()[mark:] {
		if e.Down != nil {
			t.Errorf("down with %v for half a rotation", e.Down.Err)
		}
	}
	before := d.Mark()
	o2 := session()
	o2.Filters = nil
	other := linktest.Start(t, open(t, o2, withPair(t, o, pki))) // takes over the client id
	other.Up(t, 0)
	if down := d.Down(t, before); strings.Contains(down.Err.Error(), "files") {
		t.Errorf("down with %v, though the new files are of no use", down.Err)
	}
	other.Stop(t)
	d.Up(t, before)

	mark = d.Mark()
	pki.Issue(t, "dev", 3*time.Hour)
	d.Down(t, mark)
	d.Up(t, mark)
}

// signal is a log that says that it was written to.
type signal chan struct{}

func (s signal) Write(p []byte) (int, error) {
	select {
	case s <- struct{}{}:
	default:
	}
	return len(p), nil
}

func withPair(t *testing.T, o mqtt.Options, pki *linktest.PKI) mqtt.Options {
	o.CertFile, o.KeyFile = pki.Issue(t, "dev-2", time.Hour)
	return o
}
