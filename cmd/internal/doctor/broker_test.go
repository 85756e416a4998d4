package doctor_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/agent"
	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/board"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/doctor"
)

// silent is an address where connections are taken and nothing is said.
func silent(t *testing.T) string {
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
			go io.Copy(io.Discard, c)
		}
	}()
	return l.Addr().String()
}

func TestBrokers(t *testing.T) {
	t.Parallel()
	pki, stranger := linktest.NewPKI(t), linktest.NewPKI(t)
	day := 24 * time.Hour
	goodCert, goodKey := pki.Issue(t, "lasting", 90*day)
	expiredCert, expiredKey := pki.Issue(t, "expired", -day)
	otherCert, otherKey := pki.Issue(t, "other", 90*day, "broker.example")
	deviceCert, deviceKey := pki.Issue(t, "gate-17", 400*day)
	namedCert, namedKey := pki.Issue(t, "bench", 400*day)
	oldCert, oldKey := pki.Issue(t, "old", -day)
	shortCert, shortKey := pki.Issue(t, "short", 7*day)
	strangeCert, strangeKey := stranger.Issue(t, "gate-17", 400*day)
	url := func(s *linktest.Server) string { return s.URL(s.Addr) }
	plain := url(linktest.Mochi(t, linktest.Config{}))
	picky := url(linktest.Mochi(t, linktest.Config{Denied: "holdfast/gate-17/command"}))
	users := url(linktest.Mosquitto(t, linktest.Config{Users: map[string]string{"gate-17": "secret"}}))
	mute := url(linktest.Mosquitto(t, linktest.Config{Users: map[string]string{"gate-17": "secret"}, Access: "user gate-17\ntopic read holdfast/gate-17/#\n"}))
	mtls := url(linktest.Mosquitto(t, linktest.Config{PKI: pki, ClientCert: true, CertFile: goodCert, KeyFile: goodKey}))
	short := url(linktest.Mochi(t, linktest.Config{PKI: pki})) // its certificate is good for an hour
	expired := url(linktest.Mochi(t, linktest.Config{PKI: pki, CertFile: expiredCert, KeyFile: expiredKey}))
	misnamed := url(linktest.Mochi(t, linktest.Config{PKI: pki, CertFile: otherCert, KeyFile: otherKey}))
	closed, quiet := closedPort(t), silent(t)
	password := filepath.Join(t.TempDir(), "password")
	write(t, password, "secret\nand more\n")
	wrong := filepath.Join(t.TempDir(), "wrong")
	write(t, wrong, "guess\n")
	loose := filepath.Join(t.TempDir(), "loose.key")
	text, err := os.ReadFile(deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, loose, string(text))
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	trusting := func(c *config.Config) {
		c.Broker.CAFile, c.Broker.CertFile, c.Broker.KeyFile = pki.CAFile, deviceCert, deviceKey
	}
	pair := func(cert, key string) func(*config.Config) {
		return func(c *config.Config) { c.Broker.CAFile, c.Broker.CertFile, c.Broker.KeyFile = pki.CAFile, cert, key }
	}
	login := func(file string) func(*config.Config) {
		return func(c *config.Config) { c.Broker.User, c.Broker.PasswordFile = "gate-17", file }
	}
	type want struct {
		check   string
		outcome doctor.Outcome
		words   string
	}
	for _, tt := range []struct {
		name   string
		broker string
		change func(*config.Config)
		want   []want
	}{
		{"all is well", mtls, trusting, []want{{"certificate", doctor.OK, "CN=gate-17, good for 399 days"}, {"authorities", doctor.OK, "has 1 that are good"},
			{"dns", doctor.OK, "localhost is 127.0.0.1"}, {"tcp", doctor.OK, "answers"}, {"tls", doctor.OK, "good for 89 days"},
			{"login", doctor.OK, "gate-17/doctor"}, {"subscribe", doctor.OK, "3 of 3"}, {"publish", doctor.OK, "passed on"}}},
		{"no such name", "mqtts://nosuch.invalid", nil, []want{{"dns", doctor.Fail, "DNS: "}, {"tcp", doctor.Skipped, "because dns failed"},
			{"publish", doctor.Skipped, "because dns failed"}}},
		{"closed port", "mqtt://" + closed, nil, []want{{"tcp", doctor.Fail, "whether the broker runs"}, {"tls", doctor.Skipped, "because tcp failed"}}},
		{"nobody talks", "mqtt://" + quiet, nil, []want{{"login", doctor.Fail, "no answer"}, {"publish", doctor.Skipped, "because login failed"}}},
		{"expired", expired, trusting, []want{{"tls", doctor.Fail, "renew the broker's certificate"}, {"login", doctor.Skipped, "because tls failed"}}},
		{"soon to expire", short, trusting, []want{{"tls", doctor.Warn, "good for 0 days"}, {"publish", doctor.OK, ""}}},
		{"wrong name", misnamed, trusting, []want{{"tls", doctor.Fail, "use one of broker.example"}}},
		{"name given", misnamed, func(c *config.Config) { trusting(c); c.Broker.ServerName = "broker.example" }, []want{{"tls", doctor.OK, ""}}},
		{"unknown authority", mtls, func(c *config.Config) { trusting(c); c.Broker.CAFile = stranger.CAFile }, []want{
			{"tls", doctor.Fail, "must hold the certificate of CN=holdfast test authority"}}},
		{"no authority", mtls, func(c *config.Config) { trusting(c); c.Broker.CAFile += ".gone" }, []want{
			{"authorities", doctor.Fail, "no such file"}, {"tls", doctor.Fail, "see the checks"}}},
		{"authority expired", mtls, func(c *config.Config) { trusting(c); c.Broker.CAFile = oldCert }, []want{{"authorities", doctor.Fail, "has expired"}}},
		{"a key for an authority", mtls, func(c *config.Config) { trusting(c); c.Broker.CAFile = deviceKey }, []want{{"authorities", doctor.Fail, "no certificate in"}}},
		{"TLS to a plain port", strings.Replace(plain, "mqtt://", "mqtts://", 1), nil, []want{{"tls", doctor.Fail, "8883"}}},
		{"no certificate", mtls, func(c *config.Config) { c.Broker.CAFile = pki.CAFile }, []want{{"certificate", doctor.Skipped, "none"},
			{"tls|login", doctor.Fail, "broker.cert_file"}}},
		{"certificate expired", mtls, pair(oldCert, oldKey), []want{{"certificate", doctor.Fail, "expired on "}, {"tls|login", doctor.Fail, "broker.cert_file"}}},
		{"certificate soon to expire", mtls, pair(shortCert, shortKey), []want{{"certificate", doctor.Warn, "renew "}}},
		{"certificate of another name", mtls, pair(namedCert, namedKey), []want{{"certificate", doctor.Warn, `set id = "bench"`}}},
		{"certificate of a stranger", mtls, pair(strangeCert, strangeKey), []want{{"tls|login", doctor.Fail, "broker.cert_file"}}},
		{"key of another", mtls, pair(deviceCert, strangeKey), []want{{"certificate", doctor.Fail, "install both of one pair"}, {"tls", doctor.Fail, "match"}}},
		{"key for everybody", mtls, pair(deviceCert, loose), []want{{"certificate", doctor.Warn, "chmod 640"}}},
		{"user refused", users, login(wrong), []want{{"login", doctor.Fail, "compare user \"gate-17\""}, {"subscribe", doctor.Skipped, "because login failed"}}},
		{"nobody refused", users, nil, []want{{"login", doctor.Fail, "set broker.user"}}},
		{"user taken", users, login(password), []want{{"login", doctor.OK, ""}, {"publish", doctor.OK, "passed on"}}},
		{"no password file", users, login(password + ".gone"), []want{{"credentials", doctor.Fail, "no such file"}, {"dns", doctor.Skipped, "because credentials failed"}}},
		{"filter refused", picky, nil, []want{{"subscribe", doctor.Fail, "holdfast/gate-17/command: refused"}, {"publish", doctor.OK, ""}}},
		{"publications dropped", mute, login(password), []want{{"subscribe", doctor.OK, ""}, {"publish", doctor.Warn, "not passed on"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := options(t, tt.change)
			o.Config.Broker.URLs = []string{tt.broker}
			if tt.broker == mute || strings.HasSuffix(tt.broker, quiet) {
				o.Step = time.Second
			}
			r := doctor.Run(t.Context(), o)
			for _, w := range tt.want {
				name, other, either := strings.Cut(w.check, "|")
				if either && find(t, r, name).Outcome == doctor.OK {
					name = other // with TLS 1.3 the broker's word may come late
				}
				expect(t, find(t, r, name), w.outcome, w.words)
			}
			bad := false
			for _, c := range r.Checks {
				bad = bad || c.Outcome == doctor.Fail
			}
			if r.OK == bad {
				t.Errorf("ok is %t with %v", r.OK, r.Count)
			}
		})
	}
}

func TestTheAgentsUserMustReadTheKey(t *testing.T) {
	t.Parallel()
	pki := linktest.NewPKI(t)
	cert, key := pki.Issue(t, "gate-17", 90*24*time.Hour)
	o := options(t, func(c *config.Config) { c.Broker.CertFile, c.Broker.KeyFile = cert, key })
	write(t, filepath.Join(o.Config.Root, "run/systemd/system/x"), "")
	expect(t, find(t, doctor.Run(t.Context(), o), "certificate"), doctor.OK, "good for 89 days")
	o.Account = func(string) (int, int, bool) { return 54321, 54321, true }
	expect(t, find(t, doctor.Run(t.Context(), o), "certificate"), doctor.Fail, "the user holdfast cannot read "+key, "chgrp holdfast")
}

func TestOneGoodBrokerIsEnough(t *testing.T) {
	t.Parallel()
	s := linktest.Mochi(t, linktest.Config{})
	o := options(t, func(c *config.Config) {
		c.Broker.URLs = []string{"mqtt://" + closedPort(t), "mqtts://nosuch.invalid", s.URL(s.Addr)}
	})
	r := doctor.Run(t.Context(), o)
	expect(t, find(t, r, "tcp"), doctor.Warn, "another broker takes this device")
	if !r.OK {
		t.Errorf("not ok: %v", r.Checks)
	}
}

func TestARunningAgentSpeaksForTheLogin(t *testing.T) {
	t.Parallel()
	s := linktest.Mochi(t, linktest.Config{Users: map[string]string{}})
	o := options(t, nil)
	o.Config.Broker.URLs = []string{s.URL(s.Addr)}
	o.Status = func(context.Context) (agent.Status, error) {
		return agent.Status{Board: board.Identity{ID: "gate-17"}, Link: agent.LinkStatus{Up: true, Broker: s.URL(s.Addr)}}, nil
	}
	expect(t, find(t, doctor.Run(t.Context(), o), "login"), doctor.Warn, "the running agent is connected")
}

func TestWhatIsPublishedIsARecord(t *testing.T) {
	t.Parallel()
	s := linktest.Mochi(t, linktest.Config{})
	o := options(t, nil)
	o.Config.Broker.URLs = []string{s.URL(s.Addr)}
	doctor.Run(t.Context(), o)
	heard := slices.DeleteFunc(s.Heard(), func(m link.Message) bool { return strings.HasPrefix(m.Topic, "$SYS") })
	if len(heard) != 1 || heard[0].Topic != "holdfast/gate-17/event" || heard[0].Retain {
		t.Fatalf("heard %v", heard)
	}
	var record struct {
		Session, Kind string
		Seq           int
	}
	if err := json.Unmarshal(heard[0].Payload, &record); err != nil || len(record.Session) != 16 || record.Seq != 1 || record.Kind != "doctor" {
		t.Errorf("%s: %v", heard[0].Payload, err)
	}
}

func TestHostileWordsDoNotReachTheTerminal(t *testing.T) {
	t.Parallel()
	pki := linktest.NewPKI(t)
	cert, key := pki.Issue(t, "hostile", time.Hour, "\x1b[2Jgone.example")
	s := linktest.Mochi(t, linktest.Config{PKI: pki, CertFile: cert, KeyFile: key})
	o := options(t, func(c *config.Config) { c.Broker.CAFile = pki.CAFile })
	o.Config.Broker.URLs = []string{s.URL(s.Addr)}
	r := doctor.Run(t.Context(), o)
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	if find(t, r, "tls").Outcome != doctor.Fail || strings.ContainsRune(b.String(), 0x1b) {
		t.Errorf("%q", b.String())
	}
}

func TestWithoutRootItDoesWhatItCan(t *testing.T) {
	t.Parallel()
	pki := linktest.NewPKI(t)
	cert, key := pki.Issue(t, "gate-17", 90*24*time.Hour)
	s := linktest.Mochi(t, linktest.Config{PKI: pki, ClientCert: true}) // reads the files before they are closed
	o := options(t, func(c *config.Config) { c.Broker.CAFile, c.Broker.CertFile, c.Broker.KeyFile = pki.CAFile, cert, key })
	o.Config.Broker.URLs = []string{s.URL(s.Addr)}
	o.UID = 65534
	for _, name := range []string{pki.CAFile, cert, key} {
		if err := os.Chmod(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	var r *doctor.Report
	asNobody(t, func() { r = doctor.Run(t.Context(), o) })
	expect(t, find(t, r, "certificate"), doctor.Skipped, "needs root")
	expect(t, find(t, r, "tcp"), doctor.OK, "answers")
	expect(t, find(t, r, "tls"), doctor.Skipped, "needs root: this user cannot read "+pki.CAFile)
	expect(t, find(t, r, "publish"), doctor.Skipped, "needs root")
}

// asNobody does f with the rights of nobody on files, where we are root; else we are nobody enough. The thread is not given back: it ends with its goroutine.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		if os.Getuid() == 0 {
			err = unix.Setfsuid(65534)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
