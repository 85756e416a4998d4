package linktest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast/agent/link"
)

// A Config says how a broker of a test is to be.
type Config struct {
	Users      map[string]string // password by name; nil lets anybody in
	PKI        *PKI              // TLS with a certificate of it; nil is plain TCP
	CertFile   string            // the broker's certificate; "" has one issued for localhost
	KeyFile    string
	ClientCert bool   // ask the device for a certificate of PKI
	Access     string // mosquitto's access list (mosquitto.conf(5), acl_file); "" is none
	// Denied is a filter that may not be subscribed to. Mosquitto's access lists do not know subscriptions: there it has
	// no effect.
	Denied string
}

// A Server is a broker on a loopback port, with an independent subscriber to everything. It ends with the test.
type Server struct {
	Addr string // host:port
	TLS  bool
	say  func(link.Message) error

	mu      sync.Mutex
	heard   []link.Message
	waiting []chan struct{}
}

// URL returns the address for the driver; addr is Addr, or that of a proxy before it.
func (s *Server) URL(addr string) string {
	if _, port, err := net.SplitHostPort(addr); err == nil && s.TLS {
		return "mqtts://localhost:" + port
	}
	return "mqtt://" + addr
}

// Say publishes as the operator and returns when the broker has it.
func (s *Server) Say(t testing.TB, m link.Message) {
	t.Helper()
	if err := s.say(m); err != nil {
		t.Fatal(err)
	}
}

// Heard returns what the independent subscriber has received so far.
func (s *Server) Heard() []link.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]link.Message(nil), s.heard...)
}

// Next returns a channel that is closed when the subscriber receives something.
func (s *Server) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(chan struct{})
	s.waiting = append(s.waiting, next)
	return next
}

func (s *Server) hear(m link.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, m)
	for _, next := range s.waiting {
		close(next)
	}
	s.waiting = nil
}

// serverPair returns the broker's certificate.
func (c Config) serverPair(t *testing.T) (certFile, keyFile string) {
	if c.CertFile != "" {
		return c.CertFile, c.KeyFile
	}
	return c.PKI.Issue(t, "broker", time.Hour)
}

// Mosquitto starts mosquitto of the system, or skips the test where it is missing.
func Mosquitto(t *testing.T, c Config) *Server {
	t.Helper()
	for _, tool := range []string{"mosquitto", "mosquitto_pub", "mosquitto_sub", "mosquitto_passwd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: apt-get install mosquitto mosquitto-clients", tool)
		}
	}
	dir := t.TempDir()
	s := &Server{Addr: freePort(t), TLS: c.PKI != nil}
	_, port, _ := net.SplitHostPort(s.Addr)
	// The operator comes by a listener of their own, without TLS.
	operator := freePort(t)
	_, operatorPort, _ := net.SplitHostPort(operator)
	conf := mosquittoConf(t, dir, c, port, operatorPort)
	if err := os.WriteFile(filepath.Join(dir, "mosquitto.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &logWriter{said: make(chan struct{})}
	cmd := exec.Command("mosquitto", "-c", filepath.Join(dir, "mosquitto.conf"))
	cmd.Stderr, cmd.Stdout = log, log
	start(t, cmd, log.said)
	clientArgs := []string{"-h", "127.0.0.1", "-p", operatorPort}[:4:4] // appended to, never shared
	s.say = func(m link.Message) error {
		args := append(clientArgs, "-t", m.Topic, "-q", fmt.Sprint(m.QoS))
		if len(m.Payload) == 0 {
			args = append(args, "-n")
		} else {
			args = append(args, "-s")
		}
		if m.Retain {
			args = append(args, "-r")
		}
		pub := exec.Command("mosquitto_pub", args...)
		pub.Stdin = bytes.NewReader(m.Payload)
		if out, err := pub.CombinedOutput(); err != nil {
			return fmt.Errorf("mosquitto_pub: %w: %s", err, out)
		}
		return nil
	}
	s.observe(t, clientArgs)
	return s
}

func mosquittoConf(t *testing.T, dir string, c Config, port, operatorPort string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "per_listener_settings true\nuser root\npersistence false\nlog_type all\nlog_dest stderr\n"+
		"max_queued_messages 10000\nset_tcp_nodelay true\n")
	fmt.Fprintf(&b, "listener %s 127.0.0.1\nallow_anonymous true\n", operatorPort)
	fmt.Fprintf(&b, "listener %s 127.0.0.1\nallow_anonymous %t\n", port, c.Users == nil)
	if c.Users != nil {
		file := filepath.Join(dir, "users")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, password := range c.Users {
			if out, err := exec.Command("mosquitto_passwd", "-b", file, name, password).CombinedOutput(); err != nil {
				t.Fatalf("mosquitto_passwd: %v: %s", err, out)
			}
		}
		fmt.Fprintf(&b, "password_file %s\n", file)
	}
	if c.Access != "" {
		file := filepath.Join(dir, "access")
		if err := os.WriteFile(file, []byte(c.Access), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "acl_file %s\n", file)
	}
	if c.PKI != nil {
		cert, key := c.serverPair(t)
		fmt.Fprintf(&b, "cafile %s\ncertfile %s\nkeyfile %s\n", c.PKI.CAFile, cert, key)
		fmt.Fprintf(&b, "require_certificate %t\n", c.ClientCert)
	}
	return b.String()
}

// observe starts mosquitto_sub as the independent subscriber and returns when it has subscribed.
func (s *Server) observe(t *testing.T, clientArgs []string) {
	t.Helper()
	// %r retained, %t topic, %x payload in hex: one line a message, whatever is in it.
	sub := exec.Command("mosquitto_sub", append(clientArgs, "-q", "1", "-t", "#", "-t", "$aws/#", "-F", "%r %t %x")...)
	out, err := sub.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewReader(out)
		var once sync.Once
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			retained, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			topic, text, _ := strings.Cut(rest, " ")
			payload, err := hex.DecodeString(text)
			if err != nil {
				continue
			}
			if topic == "linktest/ready" {
				once.Do(func() { close(ready) })
				continue
			}
			s.hear(link.Message{Topic: topic, Payload: payload, Retain: retained == "1"})
		}
	}()
	start(t, sub, nil)
	for {
		if err := s.say(link.Message{Topic: "linktest/ready", Payload: []byte("?"), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ready:
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// start runs cmd until the test ends, and returns when said is closed.
func start(t *testing.T, cmd *exec.Cmd, said <-chan struct{}) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if said == nil {
		return
	}
	select {
	case <-said:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not start", cmd.Path)
	}
}

// logWriter waits for mosquitto to say that it runs.
type logWriter struct {
	mu   sync.Mutex
	text []byte
	said chan struct{}
	done bool
}

func (l *logWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done {
		l.text = append(l.text, p...)
		if bytes.Contains(l.text, []byte("running")) {
			l.done = true
			close(l.said)
		}
	}
	return len(p), nil
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
