package warden

import (
	"fmt"
	"net"
	"slices"

	"golang.org/x/sys/unix"
)

// known returns nil if the connection's other end may ask: it is this process (Pipe), root, or one of the users the
// options name. The kernel vouches for the user (SO_PEERCRED, unix(7)) as of when the connection was made.
func (s *Server) known(conn net.Conn) error {
	if conn.LocalAddr().Network() == "pipe" {
		return nil
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%w: not a Unix socket", ErrStranger)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var failure error
	err = raw.Control(func(fd uintptr) { cred, failure = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = failure
	}
	if err != nil {
		return fmt.Errorf("%w: ask the kernel who calls: %w", ErrStranger, err)
	}
	if cred.Uid != 0 && !slices.Contains(s.o.UIDs, int(cred.Uid)) {
		return fmt.Errorf("%w: user %d, process %d", ErrStranger, cred.Uid, cred.Pid)
	}
	return nil
}
