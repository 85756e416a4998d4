package iface_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/actuators"
	"holdfast/actuators/iface"
	"holdfast/board/boardtest"
)

// quick is a clock on which nothing takes long.
type quick struct{ boardtest.Clock }

func (quick) Timer(time.Duration) (<-chan time.Time, func()) {
	fired := make(chan time.Time, 1)
	fired <- time.Now()
	return fired, func() {}
}

// namespace moves the rest of the test into a network of its own, with a pair of interfaces that are up and an address and
// routes of the first. It returns false where that is not possible, and says why.
func namespace(t *testing.T) bool {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		if os.Getuid() == 0 {
			t.Fatalf("no network namespace: %v", err)
		}
		t.Logf("not root: interfaces are not tried: %v", err)
		return false
	}
	for _, line := range []string{
		"link add a0 type veth peer name b0", "link set lo up", "link set a0 up", "link set b0 up",
		"addr add 10.9.0.1/24 dev a0", "-6 addr add 2001:db8::1/64 dev a0 nodad",
		"route add 192.0.2.0/24 via 10.9.0.2 proto static metric 7", "route add default via 192.0.2.1 dev a0 onlink",
		"route add 198.51.100.0/24 dev a0 src 10.9.0.1 table 77",
		"-6 route add default via 2001:db8::2 dev a0 metric 5", "route add 203.0.113.0/24 dev b0",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	return true
}

// has is what an interface has.
func has(t *testing.T, name string) string {
	t.Helper()
	var all []string
	for _, line := range []string{"-4 route show table all dev " + name, "-6 route show table all dev " + name, "-o addr show scope global dev " + name} {
		out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
		for l := range strings.Lines(string(out)) {
			l = strings.ReplaceAll(l, "linkdown", "")
			if !strings.Contains(l, "fe80:") && !strings.Contains(l, "ff00::") {
				all = append(all, strings.Join(strings.Fields(l), " "))
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

func up(t *testing.T, name string) bool {
	t.Helper()
	out, err := exec.Command("ip", "-o", "link", "show", name).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Contains(string(out), ",UP") || strings.Contains(string(out), "<UP")
}

func TestAnInterfaceHasWhatItHadBefore(t *testing.T) {
	if !namespace(t) {
		return
	}
	keep := filepath.Join(t.TempDir(), "keep")
	before := has(t, "a0")
	for _, want := range []string{"default via 192.0.2.1", "198.51.100.0/24", "2001:db8::1/64", "default via 2001:db8::2"} {
		if !strings.Contains(before, want) {
			t.Fatalf("%s is missing from:\n%s", want, before)
		}
	}
	r, err := iface.Cycle(t.Context(), quick{}, "a0", keep)
	if err != nil || r.Trouble != "" || r.Restored != 5 || !up(t, "a0") {
		t.Errorf("%+v, %v", r, err)
	}
	if after := has(t, "a0"); after != before {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
	if r, err := iface.Raise("a0", keep); err != nil || r.Trouble != "" || r.Restored != 0 || has(t, "a0") != before {
		t.Errorf("again: %+v, %v:\n%s", r, err, has(t, "a0"))
	}
}

func TestAnInterfaceThatWasLeftDownComesUp(t *testing.T) {
	if !namespace(t) {
		return
	}
	dir := t.TempDir()
	before := has(t, "a0")
	died := errors.New("killed")
	func() {
		defer func() { _ = recover() }()
		_, _ = iface.Cycle(t.Context(), mortal{boardtest.Clock{}, died}, "a0", dir+"/keep")
	}()
	if up(t, "a0") || has(t, "a0") == before {
		t.Fatal("it was not down: the test shows nothing")
	}
	if r, err := iface.Raise("a0", dir+"/keep"); err != nil || r.Restored != 5 || !up(t, "a0") || has(t, "a0") != before {
		t.Errorf("%+v, %v:\n%s", r, err, has(t, "a0"))
	}
	if r, err := iface.Raise("a0", dir+"/none"); err != nil || r.Trouble != "" {
		t.Errorf("without what was kept: %+v, %v", r, err)
	}
	if err := os.WriteFile(dir+"/keep", []byte("nonsense of some length, but more than a header"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := iface.Raise("a0", dir+"/keep"); err != nil || r.Trouble == "" || !up(t, "a0") {
		t.Errorf("what was kept is damaged: %+v, %v", r, err)
	}
	if _, err := iface.Cycle(t.Context(), quick{}, "a0", dir+"/none/keep"); err == nil || !up(t, "a0") {
		t.Errorf("nothing can be kept: %v, up %v", err, up(t, "a0"))
	}
	if _, err := iface.Cycle(t.Context(), quick{}, "none0", dir+"/keep"); err == nil || !strings.HasPrefix(err.Error(), "interface none0: ") {
		t.Errorf("no such interface: %v", err)
	}
}

// mortal is a clock on which a process that waits dies.
type mortal struct {
	boardtest.Clock
	err error
}

func (m mortal) Timer(time.Duration) (<-chan time.Time, func()) { panic(m.err) }

func TestTheVerbCyclesListedInterfacesAlone(t *testing.T) {
	asked, said := "", `{"restored":2}`
	v, err := iface.Verb(boardtest.Clock{}, []string{"eth0", "wlan0"}, func(_ context.Context, name string) ([]byte, error) {
		asked += name
		return []byte(said), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := actuators.NewSet(actuators.Options{Clock: boardtest.Clock{}, Allow: []string{"interface.cycle"}}, v)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Do(t.Context(), "interface.cycle", actuators.Args{"interface": "eth0"}); err != nil || r["restored"] != 2 || asked != "eth0" {
		t.Errorf("%v, %v, asked %s", r, err, asked)
	}
	for _, name := range []string{"lo", "", "eth0 "} {
		if _, err := s.Do(t.Context(), "interface.cycle", actuators.Args{"interface": name}); !errors.Is(err, actuators.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	said = "{"
	if _, err := s.Do(t.Context(), "interface.cycle", actuators.Args{"interface": "eth0"}); err == nil {
		t.Error("half a report was taken")
	}
	for _, bad := range []string{"", "a b", "a/b", "eth0:1", strings.Repeat("x", 16), "..", "e\n"} {
		if _, err := iface.Verb(boardtest.Clock{}, []string{bad}, nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	none, err := iface.Verb(boardtest.Clock{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.Do(t.Context(), actuators.Args{"interface": ""}); !errors.Is(err, actuators.ErrDenied) {
		t.Errorf("no interfaces: %v", err)
	}
}

func FuzzKept(f *testing.F) {
	f.Add([]byte("\x14\x00\x00\x00\x18\x00\x05\x06\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, err := iface.Kept(text); err == nil && n > len(text) {
			t.Error(fmt.Sprint("more messages than bytes: ", n))
		}
	})
}
