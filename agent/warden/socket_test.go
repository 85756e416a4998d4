package warden_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/actuators"
	"holdfast/agent/warden"
	"holdfast/board/boardtest"
)

var ping = verb("ping", func(context.Context, args) (result, error) { return result{"pong": true}, nil })

// socket serves on a Unix socket that anybody may open, until the test ends.
func socket(t *testing.T, o warden.ServerOptions, verbs ...actuators.Verb) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "warden") // short, and open to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	ln, activated, err := warden.Listen(path, os.Getgid())
	if err != nil || activated {
		t.Fatal(activated, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket's mode: %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // so that it is the kernel's word that counts
		t.Fatal(err)
	}
	o.Set = set(t, verbs...)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := warden.NewServer(o).Serve(ctx, ln); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return path
}

const callerEnv = "HOLDFAST_TEST_CALLER"

// TestMain is also the other process: the caller of another user, and the warden that systemd starts.
func TestMain(m *testing.M) {
	switch os.Getenv(callerEnv) {
	case "":
		os.Exit(m.Run())
	case "call":
		c := &warden.Client{Dial: warden.Unix(os.Args[1])}
		r, err := c.Do(context.Background(), "ping", nil, "")
		fmt.Println(r["pong"], errors.Is(err, warden.ErrStranger), err)
	case "serve":
		fmt.Println(serveActivated())
	case "turn":
		warden.TurnAway(200 * time.Millisecond)
	}
}

func serveActivated() error {
	ln, activated, err := warden.Listen(os.Args[1], -1)
	if err != nil || !activated {
		return fmt.Errorf("activated %v: %w", activated, err)
	}
	s, err := actuators.NewSet(actuators.Options{Clock: boardtest.Clock{}, Allow: []string{"ping"}}, ping)
	if err != nil {
		return err
	}
	return warden.NewServer(warden.ServerOptions{Set: s, Idle: 200 * time.Millisecond}).Serve(context.Background(), ln)
}

func TestOnlyRootAndTheAgentMayAsk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: callers of other users cannot be started")
	}
	// Another user cannot reach the directory this binary was built in.
	binary := filepath.Join(t.TempDir(), "caller")
	for dir := filepath.Dir(binary); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(binary, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := socket(t, warden.ServerOptions{UIDs: []int{4711}}, ping)
	for _, tt := range []struct {
		uid  uint32
		want string
	}{
		{0, "true false <nil>\n"},
		{4711, "true false <nil>\n"},
		{4712, "<nil> true ping: refused: stranger\n"},
		{65534, "<nil> true ping: refused: stranger\n"},
	} {
		cmd := exec.Command(binary, path)
		cmd.Dir = "/"
		cmd.Env = []string{callerEnv + "=call", "GORACE=atexit_sleep_ms=0"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: tt.uid, Gid: tt.uid, NoSetGroups: true}}
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != tt.want {
			t.Errorf("user %d: %q, %v; want %q", tt.uid, out, err, tt.want)
		}
	}
}

func TestOnlyUnixSocketsAreServed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := warden.NewServer(warden.ServerOptions{Set: set(t, ping)}).ServeConn(t.Context(), far); !errors.Is(err, warden.ErrStranger) {
		t.Errorf("ServeConn over TCP = %v", err)
	}
}

func TestAThousandCallersAtOnceAreBounded(t *testing.T) {
	var inside, most atomic.Int32
	path := socket(t, warden.ServerOptions{UIDs: []int{os.Getuid()}, Conns: 4}, verb("ping", func(context.Context, args) (result, error) {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		return nil, nil
	}))
	before := runtime.NumGoroutine()
	var served, refused atomic.Int32
	var peak atomic.Int64
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			c := &warden.Client{Dial: warden.Unix(path), Reach: 2 * time.Second}
			_, err := c.Do(context.Background(), "ping", nil, "")
			peak.Store(max(peak.Load(), int64(runtime.NumGoroutine())))
			switch {
			case err == nil:
				served.Add(1)
			case errors.Is(err, warden.ErrBusy), errors.Is(err, warden.ErrUnreachable):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// A caller is one goroutine here and at most two more to close its connection; the server has three for each of four.
	if most.Load() != 1 || served.Load() == 0 || served.Load()+refused.Load() != 1000 || peak.Load() > int64(before)+3*1000+20 {
		t.Errorf("%d deeds at once, %d served, %d refused, %d goroutines", most.Load(), served.Load(), refused.Load(), peak.Load())
	}
	c := &warden.Client{Dial: warden.Unix(path)}
	if _, err := c.Do(t.Context(), "ping", nil, ""); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestListenReplacesAnOrphanedSocketOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := warden.Listen(path, -1); err == nil {
		t.Error("took a socket that somebody listens on")
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	again, _, err := warden.Listen(path, -1)
	if err != nil {
		t.Fatalf("an orphaned socket: %v", err)
	}
	again.Close()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := warden.Listen(path, -1); err == nil {
		t.Error("replaced a file that is no socket")
	}
}

// activated runs this program as systemd would, with the socket.
func activated(as, path string, socket *os.File) ([]byte, error) {
	// LISTEN_PID has to be the warden's own, which only a shell that becomes it can know.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$1"`, "/proc/self/exe", path)
	cmd.Args[3], _ = os.Executable()
	cmd.Env = []string{callerEnv + "=" + as, "LISTEN_FDS=1", "GORACE=atexit_sleep_ms=0"}
	cmd.ExtraFiles = []*os.File{socket}
	return cmd.CombinedOutput()
}

// A caller who went on waiting would have systemd start the warden again at once.
func TestAWardenThatCannotBeginLeavesNobodyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := range 3 { // one of them has left already, and waits in the socket all the same
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			conn.Close()
		} else {
			defer conn.Close()
		}
	}
	if out, err := activated("turn", path, file); err != nil || len(out) > 0 {
		t.Fatalf("%q, %v", out, err)
	}
	ready := []unix.PollFd{{Fd: int32(file.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 0); n != 0 || err != nil {
		t.Errorf("somebody still waits: %d, %v", n, err)
	}
}

// systemd holds the socket, starts the warden when somebody calls, and starts it again after it ended idle.
func TestSocketActivation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	file, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for range 2 {
		called, dialled := make(chan error, 1), make(chan struct{}, 100)
		go func() { // before anybody serves: the connection waits in the socket
			c := &warden.Client{Reach: time.Minute, Dial: func(ctx context.Context) (net.Conn, error) {
				conn, err := warden.Unix(path)(ctx)
				dialled <- struct{}{}
				return conn, err
			}}
			_, err := c.Do(context.Background(), "ping", nil, "")
			called <- err
		}()
		<-dialled
		out, err := activated("serve", path, file) // until it is idle
		if err != nil || string(out) != "<nil>\n" {
			t.Fatalf("the warden: %q, %v", out, err)
		}
		if err := <-called; err != nil {
			t.Fatalf("the caller: %v", err)
		}
	}
}

func TestUptimeIsTheKernels(t *testing.T) {
	up := warden.Uptime("/")
	if up == nil {
		t.Skip("this kernel tells no boot id")
	}
	boot, first := up()
	again, second := up()
	if len(boot) != 36 || boot != again || first <= 0 || second < first {
		t.Errorf("%q %v, then %q %v", boot, first, again, second)
	}
	if warden.Uptime(t.TempDir()) != nil {
		t.Error("a boot without a name")
	}
}
