//go:build linux

package main

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelAttempts are those on the kernel and the machine.
func kernelAttempts() []attempt {
	return []attempt{
		{"set the clock", func() error {
			var now unix.Timespec
			if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
				return err
			}
			return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
		}},
		{"bend the clock", func() error {
			var t unix.Timex
			if _, err := unix.Adjtimex(&t); err != nil {
				return err
			}
			_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_FREQUENCY, Freq: t.Freq})
			return err
		}},
		{"set the host name", func() error {
			var u unix.Utsname
			if err := unix.Uname(&u); err != nil {
				return err
			}
			return unix.Sethostname([]byte(unix.ByteSliceToString(u.Nodename[:])))
		}},
		{"set the domain name", func() error { return unix.Setdomainname([]byte("(none)")) }},
		{"read the kernel's log", func() error {
			_, err := unix.Klogctl(3, make([]byte, 4096)) // SYSLOG_ACTION_READ_ALL
			return err
		}},
		{"swap to a file", func() error { return badFile(errno(unix.SYS_SWAPON, path("/dev/null"), 0)) }},
		{"stop swapping", func() error { return badFile(errno(unix.SYS_SWAPOFF, path("/dev/null"))) }},
		{"account for processes", func() error { return errno(unix.SYS_ACCT, 0) }},
		{"load a module", func() error { return badFile(unix.InitModule([]byte("not a module"), "")) }},
		{"hang the terminal up", func() error { return errno(unix.SYS_VHANGUP) }},
		{"watch a whole mount", func() error {
			_, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF, unix.O_RDONLY)
			if err != nil {
				return err
			}
			fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT, unix.O_RDONLY)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}},
		{"watch the kernel's counters", func() error {
			attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Config: unix.PERF_COUNT_SW_CPU_CLOCK}
			_, err := unix.PerfEventOpen(&attr, -1, 0, -1, 0)
			return err
		}},
		{"load a program into the kernel", loadBPF},
		{"see where the kernel is", kernelAddress},
		{"a disk quota", func() error { return badFile(errno(unix.SYS_QUOTACTL, 0x80000100, 0, 0, 0)) }},
		{"kernel keys of another", func() error {
			_, err := unix.KeyctlInt(unix.KEYCTL_GET_PERSISTENT, 1, unix.KEY_SPEC_PROCESS_KEYRING, 0, 0)
			return err
		}},
	}
}

func path(name string) uintptr { return uintptr(unsafe.Pointer(&append([]byte(name), 0)[0])) }

// badFile takes the kernel's complaint about what it was given for the power to give it something better.
func badFile(err error) error {
	for _, allowed := range []error{unix.EINVAL, unix.ENOEXEC, unix.ENOTBLK, unix.ENODEV, unix.EBADMSG, unix.ENOENT, unix.ESRCH} {
		if errors.Is(err, allowed) {
			return nil
		}
	}
	return err
}

// loadBPF loads a program of two instructions that counts packets (BPF_PROG_TYPE_SCHED_CLS wants CAP_BPF and CAP_NET_ADMIN).
func loadBPF() error {
	code := []uint64{0x00000000000000b7, 0x0000000000000095} // r0 = 0; exit
	license := append([]byte("Apache"), 0)
	attr := struct {
		kind, count    uint32
		code, license  uint64
		level, size    uint32
		log            uint64
		version, flags uint32
	}{kind: 3, count: 2, code: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	err := errno(unix.SYS_BPF, 5, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	return err
}

// kernelAddress wants an address that is not zero, which others than root are not shown.
func kernelAddress() error {
	text, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		if address, _, _ := strings.Cut(line, " "); strings.Trim(address, "0") != "" {
			return nil
		}
	}
	return errors.New("every address is 0")
}

// networkAttempts are those on the network.
func networkAttempts() []attempt {
	socket := func(family, kind, protocol int) func() error {
		return func() error {
			fd, err := unix.Socket(family, kind, protocol)
			if err != nil {
				return err
			}
			return unix.Close(fd)
		}
	}
	return []attempt{
		{"a raw socket", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP)},
		{"a packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW, 0x0300)},
		{"a socket to the kernel's tables", socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
		{"a socket to the kernel's cipher", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
		{"a socket to the hypervisor", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
		{"a port below 1024", func() error {
			l, err := net.Listen("tcp", "127.0.0.1:1")
			if err != nil {
				return err
			}
			return l.Close()
		}},
		{"take an interface down", func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			request, err := unix.NewIfreq("lo")
			if err != nil {
				return err
			}
			if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
				return err
			}
			return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request) // as it was
		}},
		{"mark packets", func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, 1)
		}},
		{"claim to be root on a socket", func() error {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			return unix.Sendmsg(pair[0], []byte("x"), unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: 12345, Gid: 12345}), nil, 0)
		}},
	}
}

// serviceAttempts are those that ask others who have the power.
func serviceAttempts() []attempt {
	systemctl := func(args ...string) func() error {
		return func() error { return program("systemctl", append([]string{"--no-ask-password"}, args...)...) }
	}
	bus := func(args ...string) func() error {
		return func() error {
			return program("busctl", append([]string{"--allow-interactive-authorization=no", "call"}, args...)...)
		}
	}
	manager := []string{"org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"}
	on := func(args ...string) func() error { return bus(append(append([]string{}, manager...), args...)...) }
	return []attempt{
		{"systemd: restart a service", systemctl("restart", unit)},
		{"systemd: stop a service", func() error { return errors.Join(systemctl("stop", unit)(), systemctl("start", unit)()) }},
		{"systemd: a service that runs as root", func() error { return program("systemd-run", "--no-ask-password", "--wait", "--quiet", "true") }},
		{"systemd: a scope", func() error { return program("systemd-run", "--no-ask-password", "--scope", "--quiet", "true") }},
		{"systemd: read units again", systemctl("daemon-reload")},
		{"systemd: enable a unit", systemctl("enable", "--runtime", "debug-shell.service")},
		{"systemd: mask a unit", func() error {
			return errors.Join(systemctl("mask", "--runtime", "apt-daily.timer")(), systemctl("unmask", "--runtime", "apt-daily.timer")())
		}},
		{"systemd: set its environment", func() error {
			return errors.Join(systemctl("set-environment", "ATTEMPTED=1")(), systemctl("unset-environment", "ATTEMPTED")())
		}},
		{"systemd: kill a service", systemctl("kill", "-s", "CONT", unit)},
		{"systemd: change a unit's properties", systemctl("set-property", "--runtime", unit, "CPUWeight=100")},
		{"systemd: forget failures", systemctl("reset-failed")},
		{"systemd: set its exit code", on("SetExitCode", "y", "0")},
		{"systemd: bind into a service", systemctl("bind", "--read-only", unit, "/etc/hostname")},
		{"systemd: clean a unit's files", systemctl("clean", "--what=runtime", "systemd-tmpfiles-clean.service")},
	}
}
