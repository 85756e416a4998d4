package probe_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/probe"
)

// What servers of names can do, told by a broker that is reached by its address.
func TestServersOfNames(t *testing.T) {
	broker, _ := serve(t, nil)
	with := func(flags uint16, records ...[]byte) func([]byte) [][]byte {
		return func(q []byte) [][]byte { return [][]byte{reply(q, flags, records...)} }
	}
	for _, tt := range []struct {
		name   string
		answer func([]byte) [][]byte
		good   bool
	}{
		{"answers", here, true},
		{"has no such name", with(0x8183), true},
		{"has no address", with(0x8180), true},
		{"answers after lies of other ids and questions", func(q []byte) [][]byte {
			id, name := reply(q, 0x8180), reply(q, 0x8180)
			id[0] ^= 1
			name[len(q)-6] ^= 1
			return [][]byte{id, name, q, {1}, reply(q, 0x8180)}
		}, true},
		{"fails", with(0x8182), false},
		{"will not", with(0x8185), false},
		{"is silent", func([]byte) [][]byte { return nil }, false},
		{"lies", func(q []byte) [][]byte { b := reply(q, 0x8180); b[1]++; return [][]byte{b} }, false},
		{"floods before it answers", func(q []byte) [][]byte {
			var all [][]byte
			for range 200 {
				all = append(all, make([]byte, 512))
			}
			return append(all, reply(q, 0x8180))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			port, _ := names(t, tt.answer)
			r := newRig(t, probe.Options{Port: port, Name: "example.com", Brokers: []probe.Target{{Host: "127.0.0.1", Port: broker}}}, nil)
			want := "verdict=dns carrier=true gateway_loss=0 gateway_seconds=s dns_ok=false broker_ok=true broker_seconds=s"
			if tt.good {
				want = "verdict=ok carrier=true gateway_loss=0 gateway_seconds=s dns_ok=true dns_seconds=s broker_ok=true broker_seconds=s"
			}
			if got := r.settle(); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// Somebody who sees the question, but not from where it was asked: the answer comes from the wrong port.
func TestAnAnswerFromElsewhereIsNone(t *testing.T) {
	stranger, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan int)
	go func() {
		told := 0
		defer func() { ended <- told }()
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if _, err := stranger.WriteToUDPAddrPort(reply(buf[:n], 0x8180), from); err == nil {
				told++
			}
		}
	}()
	r := newRig(t, probe.Options{Port: uint16(server.LocalAddr().(*net.UDPAddr).Port)}, nil)
	got := r.settle()
	server.Close()
	if told := <-ended; told == 0 || got != "verdict=dns carrier=true gateway_loss=0 gateway_seconds=s dns_ok=false" {
		t.Errorf("after %d answers from elsewhere: %s", told, got)
	}
}

func TestBrokersAndServersOfHTTP(t *testing.T) {
	dns, _ := names(t, here)
	up, _ := serve(t, nil)
	answering := func(text string) uint16 {
		port, _ := serve(t, func(c net.Conn) {
			buf := make([]byte, 512)
			n, _ := c.Read(buf)
			if got := string(buf[:n]); !strings.HasPrefix(got, "HEAD /health HTTP/1.1\r\nHost: site.example\r\n") || !strings.HasSuffix(got, "\r\n\r\n") {
				t.Errorf("request %q", got)
			}
			_, _ = io.WriteString(c, text)
		})
		return port
	}
	gone, mute := refusing(t), silent(t)
	held := make(chan struct{})
	hanging, _ := serve(t, func(net.Conn) { <-held })
	t.Cleanup(func() { close(held) })
	for _, tt := range []struct {
		name         string
		broker, http []uint16
		want         string
	}{
		{"a broker", []uint16{up}, nil, "verdict=ok broker_ok=true broker_seconds=s"},
		{"one of two", []uint16{gone, up}, nil, "verdict=ok broker_ok=true broker_seconds=s"},
		{"none", []uint16{gone}, nil, "verdict=upstream broker_ok=false"},
		{"none of two", []uint16{gone, mute}, nil, "verdict=upstream broker_ok=false"},
		{"one that is silent", []uint16{mute}, nil, "verdict=upstream broker_ok=false"},
		{"a server", nil, []uint16{answering("HTTP/1.1 200 OK\r\n\r\n")}, "verdict=ok http_ok=true http_seconds=s"},
		{"a server beside one that is gone", []uint16{up}, []uint16{gone, answering("HTTP/1.1 302 Found\r\n\r\n")},
			"verdict=ok broker_ok=true broker_seconds=s http_ok=true http_seconds=s"},
		{"a server that fails", []uint16{up}, []uint16{answering("HTTP/1.1 503 No\r\n\r\n")}, "verdict=ok broker_ok=true broker_seconds=s http_ok=false"},
		{"a server that is none", nil, []uint16{answering("SSH-2.0-OpenSSH_9.2\r\n")}, "verdict=upstream http_ok=false"},
		{"a server that hangs", nil, []uint16{hanging}, "verdict=upstream http_ok=false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := probe.Options{Port: dns}
			for _, p := range tt.broker {
				o.Brokers = append(o.Brokers, probe.Target{Host: "broker.example", Port: p})
			}
			for _, p := range tt.http {
				o.HTTP = append(o.HTTP, probe.Target{Host: "site.example", Port: p, Path: "/health"})
			}
			r := newRig(t, o, nil)
			got := r.settle()
			verdict, rest, _ := strings.Cut(tt.want, " ")
			// What was measured once is kept, and so is its time.
			if want := verdict + " carrier=true gateway_loss=0 gateway_seconds=s dns_ok=true dns_seconds=s " + rest; strings.Replace(got, "http_ok=false http_seconds=s", "http_ok=false", 1) != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

func TestWhereTheWayEnds(t *testing.T) {
	dns, _ := names(t, here)
	broker, _ := serve(t, nil)
	o := probe.Options{Port: dns, Brokers: []probe.Target{{Host: "broker.example", Port: broker}}}
	const well = "verdict=ok carrier=true gateway_loss=0 gateway_seconds=s dns_ok=true dns_seconds=s broker_ok=true broker_seconds=s"
	for _, tt := range []struct {
		name   string
		change map[string]string
		want   string
	}{
		{"well", nil, well},
		{"no link", map[string]string{"sys/class/net/eth0/carrier": "0\n"}, strings.Replace(well, "ok carrier=true", "link carrier=false", 1)},
		{"the interface is gone", map[string]string{"sys/class/net/eth0/carrier": ""}, strings.Replace(well, "ok carrier=true", "link carrier=false", 1)},
		{"no route, and the broker is reached all the same", map[string]string{"proc/net/route": head4}, well},
		{"another interface", map[string]string{"proc/net/route": head4 + line4("ppp0", "0.0.0.0", "0001", "0"), "sys/class/net/ppp0/carrier": "1\n"},
			"verdict=ok carrier=true dns_ok=true dns_seconds=s broker_ok=true broker_seconds=s"},
		{"no servers of names", map[string]string{"etc/resolv.conf": "# none\n"}, "verdict=ok carrier=true gateway_loss=0 gateway_seconds=s dns_seconds=s broker_ok=true broker_seconds=s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, o, nil)
			if got := r.settle(); got != well {
				t.Fatalf("before: %s", got)
			}
			for name, text := range tt.change {
				r.write(name, text)
			}
			if got := r.settle(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	t.Run("no network in the kernel", func(t *testing.T) {
		r := newRig(t, o, map[string]string{"proc/net/route": ""})
		if err := r.Collect(t.Context(), func(collectors.Sample) { t.Error("a sample") }); !errors.Is(err, collectors.ErrNoData) {
			t.Errorf("%v, want ErrNoData", err)
		}
	})
}

func TestACollectEndsWithItsContext(t *testing.T) {
	port, _ := names(t, func([]byte) [][]byte { return nil })
	r := newRig(t, probe.Options{Port: port}, nil)
	r.round(0)
	r.round(time.Hour)
	r.leap += time.Hour // it would wait for two seconds
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := r.Collect(ctx, func(collectors.Sample) {}); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("it took %s", d)
	}
}

func TestNoSocketIsLeftBehind(t *testing.T) {
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	port, _ := names(t, func([]byte) [][]byte { return nil })
	r := newRig(t, probe.Options{Port: port, Brokers: []probe.Target{{Host: "127.0.0.1", Port: silent(t)}},
		HTTP: []probe.Target{{Host: "127.0.0.1", Port: silent(t), Path: "/"}}}, nil)
	none := open()
	r.settle()
	before := open()
	for range 5 {
		r.settle()
	}
	if after := open(); after > before+5 { // five may be under way
		t.Errorf("%d files are open, and before it were %d", after, before)
	}
	r.Close()
	if after := open(); after > none {
		t.Errorf("%d files are open after the end, and there were %d", after, none)
	}
	r.settle()
	r.Close()
}

// Each question has an id and a port of its own, which somebody who cannot see it would have to guess.
func TestQuestionsCannotBeGuessed(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	type seen struct{ ids, ports map[uint16]bool }
	ended := make(chan seen)
	go func() {
		s := seen{map[uint16]bool{}, map[uint16]bool{}}
		defer func() { ended <- s }()
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			s.ids[uint16(buf[0])<<8|uint16(buf[1])], s.ports[from.Port()] = true, true
			_, _ = server.WriteToUDPAddrPort(reply(buf[:n], 0x8180), from)
		}
	}()
	r := newRig(t, probe.Options{Port: uint16(server.LocalAddr().(*net.UDPAddr).Port)}, nil)
	for range 20 {
		r.round(time.Hour)
	}
	server.Close()
	if s := <-ended; len(s.ids) < 18 || len(s.ports) < 15 {
		t.Errorf("20 questions had %d ids and %d ports", len(s.ids), len(s.ports))
	}
}

// A broker is bad when none of its addresses is reached, and in no round before.
func TestOneOfTwoBrokersIsEnoughInEachRound(t *testing.T) {
	up, _ := serve(t, nil)
	r := newRig(t, probe.Options{Brokers: []probe.Target{{Host: "127.0.0.1", Port: refusing(t)}, {Host: "127.0.0.1", Port: up}}},
		map[string]string{"etc/resolv.conf": ""})
	for i := range 10 {
		if got := said(r.round(10 * time.Second)); strings.Contains(got, "broker_ok=false") || i > 7 && !strings.Contains(got, "verdict=ok") {
			t.Errorf("round %d: %s", i, got)
		}
	}
}

// A machine whose hosts file names the broker needs no server for it.
func TestTheHostsFileComesBeforeTheServers(t *testing.T) {
	dns, _ := names(t, func(q []byte) [][]byte { return [][]byte{reply(q, 0x8183)} })
	up, taken := serve(t, nil)
	o := probe.Options{Port: dns, Brokers: []probe.Target{{Host: "Broker.lan", Port: up}}}
	r := newRig(t, o, map[string]string{"etc/hosts": "127.0.0.1 localhost broker.lan\n"})
	if got := r.settle(); !strings.HasPrefix(got, "verdict=ok ") || taken.Load() == 0 {
		t.Errorf("%s after %d connections", got, taken.Load())
	}
	if got := newRig(t, o, nil).settle(); !strings.HasPrefix(got, "verdict=upstream ") || !strings.HasSuffix(got, "broker_ok=false") {
		t.Errorf("of a name that there is not: %s", got)
	}
}

func TestAStatusLine(t *testing.T) {
	for line, want := range map[string]bool{
		"HTTP/1.1 200 OK\r\n": true, "HTTP/1.0 204\r\n": true, "HTTP/1.1 301 Moved": true, "HTTP/1.1 500 No": false, "HTTP/1.1 404 No": false,
		"HTTP/1.1 2x0 OK": false, "HTTP/1.1 20": false, "HTTP/2 200 OK  ": false, "SSH-2.0-OpenSSH": false, "": false,
	} {
		if got := probe.Status([]byte(line)); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

// An answer that comes between two rounds took as long as the kernel says, and not until somebody read it.
func TestALateAnswerHasTheTimeItCameAt(t *testing.T) {
	release := make(chan struct{})
	port, asked := names(t, func(q []byte) [][]byte { <-release; return here(q) })
	r := newRig(t, probe.Options{Port: port}, nil)
	if got := said(r.round(0)); strings.Contains(got, "dns_ok") {
		t.Errorf("before it answered: %s", got)
	}
	release <- struct{}{}
	for deadline := time.Now().Add(10 * time.Second); ; {
		s := r.round(2 * time.Second)
		if took, ok := s.Field("dns_seconds"); ok {
			if n, _ := took.Number(); n > 1 {
				t.Errorf("it took %g s", n)
			}
			break
		}
		if r.leap -= 2 * time.Second; time.Now().After(deadline) {
			t.Fatalf("no answer, of %d questions", asked.Load())
		}
	}
	close(release)
}
