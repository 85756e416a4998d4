package probe_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
	"holdfast/collectors/probe"
)

// TestMain is also the device of TestTheWayInNamespaces: what it says of itself comes from the kernel, of the namespace that
// it is started in.
func TestMain(m *testing.M) {
	if os.Getenv("HOLDFAST_PROBE_DEVICE") == "" {
		os.Exit(m.Run())
	}
	leap := time.Duration(0)
	p := probe.New(probe.Options{Brokers: []probe.Target{{Host: "broker.example", Port: 1883}},
		Now: func() time.Time { return time.Now().Add(leap) }})
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		d, err := time.ParseDuration(in.Text())
		if err != nil {
			fmt.Println("error", err)
			return
		}
		leap += d
		if err := p.Collect(context.Background(), func(s collectors.Sample) { fmt.Println(said(s)) }); err != nil {
			fmt.Println("error", err)
		}
	}
}

// A street is a device, its gateway and what lies beyond, each in a network of its own.
type street struct {
	t           *testing.T
	dev, gw, up string
	tell        io.Writer
	heard       *bufio.Scanner
}

func newStreet(t *testing.T, number int) *street {
	t.Helper()
	s := &street{t: t}
	for i, name := range []*string{&s.dev, &s.gw, &s.up} {
		*name = fmt.Sprintf("hf-probe-%d-%d%d", os.Getpid(), number, i)
		s.ip("netns add " + *name)
		t.Cleanup(func() { s.ip("netns del " + *name) })
	}
	s.ip("-n "+s.gw+" link add g0 type veth peer name d0 netns "+s.dev, "-n "+s.gw+" link add g1 type veth peer name u0 netns "+s.up,
		"-n "+s.gw+" addr add 10.77.0.1/24 dev g0", "-n "+s.gw+" addr add 10.78.0.1/24 dev g1", "-n "+s.dev+" addr add 10.77.0.2/24 dev d0",
		"-n "+s.up+" addr add 10.78.0.2/24 dev u0", "-n "+s.gw+" link set g0 up", "-n "+s.gw+" link set g1 up", "-n "+s.up+" link set u0 up",
		"-n "+s.dev+" link set lo up", "-n "+s.dev+" link set d0 up", "-n "+s.dev+" route add default via 10.77.0.1", "-n "+s.up+" route add default via 10.78.0.1")
	s.set(s.gw, "ip_forward", "1")
	etc := filepath.Join("/etc/netns", s.dev)
	t.Cleanup(func() { _ = os.RemoveAll(etc) })
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte("nameserver 10.78.0.2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The kernel doubts what it knows of neighbours after a second, and not after half a minute.
	for key, value := range map[string]string{"base_reachable_time_ms": "500", "delay_first_probe_time": "1", "retrans_time_ms": "100"} {
		s.set(s.dev, "neigh/d0/"+key, value)
	}
	return s
}

func (s *street) ip(commands ...string) {
	s.t.Helper()
	for _, c := range commands {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			s.t.Fatalf("ip %s: %v %s", c, err, out)
		}
	}
}

// inside does something in a namespace; sockets made meanwhile are its for good.
func (s *street) inside(name string, do func() error) {
	s.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		s.t.Fatal(err)
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		s.t.Fatal(err)
	}
	err = do()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil || back != nil {
		s.t.Fatal(err, back)
	}
}

// set writes a setting of net.ipv4.
func (s *street) set(name, key, value string) {
	s.t.Helper()
	s.inside(name, func() error { return os.WriteFile("/proc/sys/net/ipv4/"+key, []byte(value), 0) })
}

// start has the device begin, as nobody, and without any power. The path of this program may be closed to nobody.
func (s *street) start() {
	s.t.Helper()
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		s.t.Fatal(err)
	}
	defer exe.Close()
	cmd := exec.Command("ip", "netns", "exec", s.dev, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all",
		"/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = append(os.Environ(), "HOLDFAST_PROBE_DEVICE=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.tell, s.heard = in, bufio.NewScanner(out)
	s.t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			s.t.Error(err)
		}
	})
}

// until takes rounds, of a third of a second of the device's clock each, until it says something, and returns how many it took.
func (s *street) until(want string) int {
	s.t.Helper()
	last := ""
	for n := 1; n <= 60; n++ {
		leap := "300ms"
		if n%5 == 0 {
			leap = "5s" // so that what is silent is known to be
		}
		if _, err := fmt.Fprintln(s.tell, leap); err != nil || !s.heard.Scan() {
			s.t.Fatalf("the device is gone: %v", err)
		}
		if last = s.heard.Text(); last == want {
			return n
		}
	}
	s.t.Fatalf("%s, want %s", last, want)
	return 0
}

func TestTheWayInNamespaces(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can make network namespaces")
	}
	for i, pings := range []bool{true, false} {
		t.Run(fmt.Sprintf("pings %t", pings), func(t *testing.T) {
			t.Parallel()
			s := newStreet(t, i)
			if pings {
				s.set(s.dev, "ping_group_range", "0 2147483647")
			} else {
				s.set(s.dev, "ping_group_range", "1 0")
			}
			theWay(t, s, pings)
		})
	}
}

// theWay breaks each part of the way and mends it.
func theWay(t *testing.T, s *street, pings bool) {
	var server *net.UDPConn
	var broker net.Listener
	var mute atomic.Bool
	listen := func() (err error) {
		broker, err = net.Listen("tcp4", "10.78.0.2:1883")
		return err
	}
	s.inside(s.up, func() (err error) {
		if server, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.78.0.2:53"))); err != nil {
			return err
		}
		return listen()
	})
	ended := make(chan struct{})
	t.Cleanup(func() { _ = server.Close(); _ = broker.Close(); <-ended })
	go func() {
		defer close(ended)
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if !mute.Load() {
				_, _ = server.WriteToUDPAddrPort(reply(buf[:n], 0x8180, record(1, 10, 78, 0, 2)), from) // the device may have given up
			}
		}
	}()
	s.start()
	const well = "verdict=ok carrier=true gateway_loss=0 gateway_seconds=s dns_ok=true dns_seconds=s broker_ok=true broker_seconds=s"
	now := func(changes ...string) string { return strings.NewReplacer(changes...).Replace(well) }
	said := func(what, want string) { t.Helper(); t.Logf("%s: known after %d rounds", what, s.until(want)) }
	said("well", well)

	broker.Close()
	said("no broker", now("=ok", "=upstream", "broker_ok=true", "broker_ok=false"))
	s.inside(s.up, listen)
	said("well again", well)

	mute.Store(true)
	said("no names", now("=ok", "=dns", "dns_ok=true", "dns_ok=false"))
	mute.Store(false)
	said("well again", well)

	s.ip("-n " + s.up + " link set u0 down")
	said("nothing beyond the gateway", now("=ok", "=upstream", "dns_ok=true", "dns_ok=false", "broker_ok=true", "broker_ok=false"))
	s.ip("-n "+s.up+" link set u0 up", "-n "+s.up+" route add default via 10.78.0.1")
	said("well again", well)

	s.ip("-n " + s.gw + " link set g0 down")
	said("no link", now("=ok", "=link", "carrier=true", "carrier=false", "loss=0", "loss=1", "dns_ok=true", "dns_ok=false", "broker_ok=true", "broker_ok=false"))
	s.ip("-n " + s.gw + " link set g0 up")
	said("well again", well)

	s.ip("-n " + s.dev + " route del default")
	said("no route", now("=ok", "=link", "dns_ok=true", "dns_ok=false", "broker_ok=true", "broker_ok=false"))
	s.ip("-n " + s.dev + " route add default via 10.77.0.1")
	said("well again", well)

	s.set(s.gw, "icmp_echo_ignore_all", "1")
	if pings {
		said("a gateway that answers no more", now("loss=0", "loss=1"))
	}
	said("and is there, says the table of neighbours", well)
	s.set(s.gw, "icmp_echo_ignore_all", "0")
	for range 5 { // it answers again
		s.until(well)
	}

	s.ip("-n "+s.gw+" addr del 10.77.0.1/24 dev g0", "-n "+s.gw+" link set g0 address 02:00:00:00:00:77")
	said("no gateway", now("=ok", "=gateway", "loss=0", "loss=1", "dns_ok=true", "dns_ok=false", "broker_ok=true", "broker_ok=false"))
	s.ip("-n " + s.gw + " addr add 10.77.0.1/24 dev g0")
	said("well again", well)
}
