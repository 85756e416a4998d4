package probe

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A flight is a question that is under way, maybe for longer than a round.
type flight interface {
	// step takes what has come, asks again when it is time, and returns when it has to be called again though nothing
	// comes; zero when nothing is under way.
	step(now time.Time) (again time.Time)
	// sockets appends those that something may come from.
	sockets(to []unix.PollFd) []unix.PollFd
}

// open makes a socket that never waits and is not inherited.
func open(family, kind, protocol int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// sockaddr is what the kernel takes. scope is the number of the interface that an address of the link belongs to.
func sockaddr(a netip.AddrPort, scope uint32) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	s := &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	if a.Addr().IsLinkLocalUnicast() {
		s.ZoneId = scope
	}
	return s
}

// stamp has the kernel note when datagrams come. Where it does not, it is when they are read that counts.
func stamp(fd int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) }

// A letter is a datagram that has come.
type letter struct {
	n    int // bytes of it
	from unix.Sockaddr
	at   int64 // when the kernel took it, wall clock in nanoseconds; 0: not known
}

// receive takes one datagram without waiting.
func receive(fd int, buf []byte) (letter, error) {
	var control [64]byte
	n, size, _, from, err := unix.Recvmsg(fd, buf, control[:], unix.MSG_DONTWAIT)
	if err != nil {
		return letter{}, err
	}
	return letter{n: n, from: from, at: stamped(control[:size])}, nil
}

// stamped reads a control message of SCM_TIMESTAMPNS: a struct cmsghdr, and a struct timespec as this machine has it.
func stamped(b []byte) int64 {
	const head = unix.SizeofCmsghdr
	const whole = head + int(unsafe.Sizeof(unix.Timespec{}))
	if len(b) < whole || unix.CmsgSpace(0) != head {
		return 0
	}
	level, kind := binary.NativeEndian.Uint32(b[head-8:]), binary.NativeEndian.Uint32(b[head-4:])
	if level != unix.SOL_SOCKET || kind != unix.SO_TIMESTAMPNS {
		return 0
	}
	if whole-head == 16 {
		return int64(binary.NativeEndian.Uint64(b[head:]))*1e9 + int64(binary.NativeEndian.Uint64(b[head+8:]))
	}
	return int64(binary.NativeEndian.Uint32(b[head:]))*1e9 + int64(binary.NativeEndian.Uint32(b[head+4:]))
}

// took is how long an answer took: as the kernel has it, unless the wall clock was set meanwhile, when it is the time until
// it was read.
func took(sent, now time.Time, at int64) time.Duration {
	longest := now.Sub(sent)
	if d := time.Duration(at - sent.UnixNano()); at > 0 && d >= 0 && d <= longest {
		return d
	}
	return longest
}

// connection says how one of TCP does: its state, and how long a segment goes and comes back. These are the first byte and
// the one at 68 of struct tcp_info (include/uapi/linux/tcp.h); a kernel that has less leaves 0.
func connection(fd int) (state uint8, rtt time.Duration, err error) {
	var info [72]byte
	size := uint32(len(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, 0, errno
	}
	return info[0], time.Duration(binary.NativeEndian.Uint32(info[68:])) * time.Microsecond, nil
}

// shut closes a socket, if there is one.
func shut(fd *int) {
	if *fd >= 0 {
		_ = unix.Close(*fd) // nothing was promised to anybody
		*fd = -1
	}
}
