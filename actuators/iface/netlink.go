package iface

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// messages are requests of rtnetlink(7) that make what an interface has: RTM_NEWADDR, then RTM_NEWROUTE.
type messages []syscall.NetlinkMessage

// messagesBytes bounds what is kept of one interface.
const messagesBytes = 256 << 10

// snapshot returns what the kernel forgets of an interface that goes down and does not find again by itself: permanent IPv6
// addresses, and routes that were set by somebody. Routes over several interfaces the kernel mends.
func snapshot(name string) (messages, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	var all messages
	for _, kind := range []int{unix.RTM_GETADDR, unix.RTM_GETROUTE} {
		text, err := syscall.NetlinkRIB(kind, unix.AF_UNSPEC)
		if err != nil {
			return nil, err
		}
		list, err := syscall.ParseNetlinkMessage(text)
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			again, ours := m, false
			switch m.Header.Type {
			case unix.RTM_NEWADDR:
				again.Data, ours = address(m, uint32(link.Index))
			case unix.RTM_NEWROUTE:
				again.Data, ours = route(m, uint32(link.Index))
			}
			if ours {
				all = append(all, again)
			}
		}
	}
	if len(all.bytes()) > messagesBytes {
		return nil, fmt.Errorf("%d routes and addresses are too many", len(all))
	}
	return all, nil
}

// address returns the request for an address, if it is a permanent one of IPv6 (struct ifaddrmsg: family, prefix length,
// flags, scope, index). Those of IPv4 stay, those of the link and of router advertisements come by themselves.
func address(m syscall.NetlinkMessage, index uint32) ([]byte, bool) {
	d := m.Data
	if len(d) < unix.SizeofIfAddrmsg || d[0] != unix.AF_INET6 || d[2]&unix.IFA_F_PERMANENT == 0 || d[3] == unix.RT_SCOPE_LINK ||
		binary.NativeEndian.Uint32(d[4:]) != index {
		return nil, false
	}
	head := append([]byte(nil), d[:unix.SizeofIfAddrmsg]...)
	head[2] &^= unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
	return attributes(head, m, unix.IFA_CACHEINFO), true
}

// route returns the request for a route, if somebody set it (struct rtmsg: family, two prefix lengths, tos, table, protocol,
// scope, type, flags).
func route(m syscall.NetlinkMessage, index uint32) ([]byte, bool) {
	d := m.Data
	if len(d) < unix.SizeofRtMsg || d[5] == unix.RTPROT_KERNEL || d[5] == unix.RTPROT_RA || d[5] == unix.RTPROT_REDIRECT ||
		binary.NativeEndian.Uint32(d[8:])&unix.RTM_F_CLONED != 0 {
		return nil, false
	}
	list, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return nil, false
	}
	leads := false
	for _, a := range list {
		if a.Attr.Type == unix.RTA_OIF && len(a.Value) == 4 {
			leads = binary.NativeEndian.Uint32(a.Value) == index
		}
	}
	head := append([]byte(nil), d[:unix.SizeofRtMsg]...)
	binary.NativeEndian.PutUint32(head[8:], binary.NativeEndian.Uint32(d[8:])&unix.RTNH_F_ONLINK)
	return attributes(head, m, unix.RTA_CACHEINFO), leads
}

// attributes appends the attributes of m to head, but for one that only tells.
func attributes(head []byte, m syscall.NetlinkMessage, but uint16) []byte {
	list, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return head
	}
	for _, a := range list {
		if a.Attr.Type == but {
			continue
		}
		length := unix.SizeofRtAttr + len(a.Value)
		head = binary.NativeEndian.AppendUint16(head, uint16(length))
		head = binary.NativeEndian.AppendUint16(head, a.Attr.Type)
		head = append(head, a.Value...)
		head = append(head, make([]byte, (4-length%4)%4)...)
	}
	return head
}

// bytes writes the messages as the kernel takes them, one after the other.
func (l messages) bytes() []byte {
	var out []byte
	for i, m := range l {
		length := unix.SizeofNlMsghdr + len(m.Data)
		out = binary.NativeEndian.AppendUint32(out, uint32(length))
		out = binary.NativeEndian.AppendUint16(out, m.Header.Type)
		out = binary.NativeEndian.AppendUint16(out, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
		out = binary.NativeEndian.AppendUint32(out, uint32(i+1))
		out = binary.NativeEndian.AppendUint32(out, 0)
		out = append(out, m.Data...)
		out = append(out, make([]byte, (4-length%4)%4)...)
	}
	return out
}

// parse reads what bytes wrote.
func parse(text []byte) (messages, error) {
	if len(text) > messagesBytes {
		return nil, errors.New("longer than was written")
	}
	if len(text) == 0 {
		return nil, nil
	}
	list, err := syscall.ParseNetlinkMessage(text)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		if m.Header.Type != unix.RTM_NEWADDR && m.Header.Type != unix.RTM_NEWROUTE {
			return nil, fmt.Errorf("a message of type %d", m.Header.Type)
		}
	}
	return list, nil
}

// restore asks the kernel for each of the messages, and returns how many it had not. The error is that of the first it
// would not take; routes that lead through others come after those when they are tried again.
func (l messages) restore() (restored int, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	limit := unix.NsecToTimeval((2 * time.Second).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return 0, err
	}
	for range 3 {
		var refused messages
		err = nil
		for _, m := range l {
			switch e := ask(fd, m); {
			case e == nil:
				restored++
			case !errors.Is(e, unix.EEXIST):
				refused = append(refused, m)
				if err == nil {
					err = fmt.Errorf("put back a route or an address: %w", e)
				}
			}
		}
		if l = refused; len(l) == 0 {
			break
		}
	}
	return restored, err
}

// ask sends one request and waits for its acknowledgement.
func ask(fd int, m syscall.NetlinkMessage) error {
	if _, err := unix.Write(fd, messages{m}.bytes()); err != nil { // to the kernel, as nobody else is named
		return err
	}
	buffer := make([]byte, 8<<10)
	n, err := unix.Read(fd, buffer)
	if err != nil {
		return err
	}
	answers, err := syscall.ParseNetlinkMessage(buffer[:n])
	if err != nil || len(answers) != 1 || answers[0].Header.Type != unix.NLMSG_ERROR || len(answers[0].Data) < 4 {
		return errors.New("an answer that is none")
	}
	if code := int32(binary.NativeEndian.Uint32(answers[0].Data)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
