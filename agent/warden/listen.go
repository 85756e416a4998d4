package warden

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"holdfast/actuators"
)

// Listen returns the socket that systemd passed to this process (LISTEN_FDS, sd_listen_fds(3)), and true; or, where it
// passed none, a new one at path that root and the group gid can open, and false. A socket file that nobody listens on
// is replaced. Only the first is safe to leave when idle: systemd goes on listening.
func Listen(path string, gid int) (ln net.Listener, activated bool, err error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, false, fmt.Errorf("take systemd's socket: %w", err)
	}
	if len(passed) > 0 {
		if socket, ok := passed[0].(*net.UnixListener); ok && len(passed) == 1 {
			return socket, true, nil
		}
		return nil, false, fmt.Errorf("take systemd's socket: %d were passed, want one Unix stream socket", len(passed))
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, false, fmt.Errorf("listen on %s: somebody does already", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, false, fmt.Errorf("listen: %w", err)
		}
	}
	if ln, err = net.Listen("unix", path); err != nil {
		return nil, false, err
	}
	// Between the two lines others might connect; who they are is asked of the kernel in any case.
	if err := errors.Join(os.Chown(path, -1, gid), os.Chmod(path, 0o660)); err != nil {
		ln.Close()
		return nil, false, fmt.Errorf("listen: %w", err)
	}
	return ln, false, nil
}

// TurnAway closes what waits at the socket that systemd passed to this process, until nobody has come for the time given
// or a hundred have. It is for a warden that cannot begin: for a caller who is still waiting systemd would start it again
// at once, over and over, and in the end give up the socket (TriggerLimitBurst, systemd.socket(5)). Without such a socket
// it does nothing.
func TurnAway(quiet time.Duration) {
	passed, err := activation.Listeners()
	if err != nil {
		return
	}
	for _, ln := range passed {
		socket, ok := ln.(*net.UnixListener)
		for range 100 {
			if !ok || socket.SetDeadline(time.Now().Add(quiet)) != nil {
				break
			}
			conn, err := socket.Accept()
			if err != nil {
				break
			}
			conn.Close()
		}
	}
}

// Uptime returns the kernel's time since boot, suspension included (CLOCK_BOOTTIME, clock_gettime(2)), and the boot's
// random name (/proc/sys/kernel/random/boot_id) below root; nil where the kernel tells neither.
func Uptime(root string) actuators.Uptime {
	raw, err := os.ReadFile(strings.TrimSuffix(root, "/") + "/proc/sys/kernel/random/boot_id")
	boot := strings.TrimSpace(string(raw))
	var now unix.Timespec
	if err != nil || len(boot) != 36 || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return nil
	}
	return func() (string, time.Duration) {
		var now unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
			return boot, 0 // no credit
		}
		return boot, time.Duration(now.Nano())
	}
}
