package probe_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
	"holdfast/collectors/probe"
)

// A rig is a probe on a machine made of files, whose gateway, servers and broker are this machine's loopback. Its clock is
// the real one, with leaps.
type rig struct {
	t    testing.TB
	root string
	leap time.Duration
	*probe.Probe
}

// files are what a machine that is well says. What a test has of its own comes over them; an empty text is no file.
func newRig(t testing.TB, o probe.Options, own map[string]string) *rig {
	t.Helper()
	r := &rig{t: t, root: t.TempDir()}
	for name, text := range map[string]string{
		"proc/net/route":             head4 + line4("eth0", "127.0.0.1", "0003", "0"),
		"proc/net/arp":               "IP address HW type Flags HW address Mask Device\n",
		"sys/class/net/eth0/carrier": "1\n",
		"sys/class/net/eth0/ifindex": "2\n",
		"etc/resolv.conf":            "nameserver 127.0.0.1\n",
	} {
		r.write(name, text)
	}
	for name, text := range own {
		r.write(name, text)
	}
	o.Root = r.root
	o.Now = func() time.Time { return time.Now().Add(r.leap) }
	r.Probe = probe.New(o)
	return r
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	file := filepath.Join(r.root, name)
	if text == "" {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
		return
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		r.t.Fatal(err)
	}
}

// round leaps over a time and takes a round.
func (r *rig) round(leap time.Duration) collectors.Sample {
	r.t.Helper()
	r.leap += leap
	var got []collectors.Sample
	if err := r.Collect(r.t.Context(), func(s collectors.Sample) { got = append(got, s) }); err != nil || len(got) != 1 {
		r.t.Fatalf("%d samples, %v", len(got), err)
	}
	for _, f := range got[0].Fields {
		if !slices.ContainsFunc(probe.Measures(), func(m collectors.Measure) bool { return m.Field == f.Name }) {
			r.t.Errorf("%s is not in the table", f.Name)
		}
		if n, ok := f.Value.Number(); ok && strings.HasSuffix(f.Name, "_seconds") && (n <= 0 || n > 10) {
			r.t.Errorf("%s = %g", f.Name, n)
		}
	}
	return got[0]
}

// settle takes rounds until what has failed is known to, and returns what was said last. A round waits for a third of the
// shorter of the last two periods, so that no leap is waited for.
func (r *rig) settle() string {
	r.t.Helper()
	last := ""
	for range 3 {
		for range 3 {
			r.round(150 * time.Millisecond)
		}
		last = said(r.round(5 * time.Second))
	}
	return last
}

// said writes a sample without times, but for which there are.
func said(s collectors.Sample) string {
	var out []string
	for _, f := range s.Fields {
		v := string(f.Value.AppendJSON(nil))
		if strings.HasSuffix(f.Name, "_seconds") {
			v = "s"
		}
		out = append(out, strings.TrimSuffix(f.Name, "_ratio")+"="+strings.Trim(v, `"`))
	}
	return strings.Join(out, " ")
}

// names serves DNS over UDP; answer says what comes back for a query, in order.
func names(t testing.TB, answer func(query []byte) [][]byte) (port uint16, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = c.Close(); <-ended })
	go func() {
		defer close(ended)
		buf := make([]byte, 512)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			asked.Add(1)
			for _, b := range answer(slices.Clone(buf[:n])) {
				_, _ = c.WriteToUDPAddrPort(b, from) // who asked may be gone
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), asked
}

// here answers that each name is this machine.
func here(query []byte) [][]byte { return [][]byte{reply(query, 0x8180, record(1, 127, 0, 0, 1))} }

// serve listens for TCP, and does with connections what it is told to.
func serve(t testing.TB, do func(net.Conn)) (port uint16, taken *atomic.Int64) {
	t.Helper()
	taken = &atomic.Int64{}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			if do != nil {
				do(c)
			}
			_ = c.Close() // the probe has closed it too
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort().Port(), taken
}

// refusing is a port where nobody listens, and nobody else will.
func refusing(t testing.TB) uint16 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return bind(t, fd)
}

func bind(t testing.TB, fd int) uint16 {
	t.Helper()
	err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	at, also := unix.Getsockname(fd)
	if err != nil || also != nil {
		t.Fatal(err, also)
	}
	return uint16(at.(*unix.SockaddrInet4).Port)
}

// silent is a port whose queue of connections is full: the kernel drops who asks for more.
func silent(t testing.TB) uint16 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	port := bind(t, fd)
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return port
}
