package probe

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

const mostServers = 3 // of resolv.conf(5)

// A Route is the way out of the machine.
type Route struct {
	Interface string
	Gateway   netip.Addr // not valid: the link has one other end, and no gateway
}

// The flags of routes (include/uapi/linux/route.h).
const (
	routeUp     = 0x1
	routeReject = 0x200
)

// ParseRoutes4 finds the default route of the least metric in /proc/net/route: Iface Destination Gateway Flags RefCnt Use
// Metric Mask, numbers in hexadecimal but for the metric, and addresses as the machine has 32 bits in memory.
func ParseRoutes4(b []byte) (r Route, ok bool) {
	var f [8][]byte
	best := uint64(1 << 32)
	for line := range bytes.Lines(b) {
		if !fields(line, f[:]) || string(f[1]) != "00000000" || string(f[7]) != "00000000" || !named(f[0]) {
			continue
		}
		flags, err := strconv.ParseUint(string(f[3]), 16, 32)
		metric, worse := strconv.ParseUint(string(f[6]), 10, 32)
		gateway, broken := strconv.ParseUint(string(f[2]), 16, 32)
		if err != nil || worse != nil || broken != nil || flags&(routeUp|routeReject) != routeUp || metric >= best {
			continue
		}
		best, ok = metric, true
		r = Route{Interface: string(f[0])}
		if gateway != 0 {
			var a [4]byte
			binary.NativeEndian.PutUint32(a[:], uint32(gateway))
			r.Gateway = netip.AddrFrom4(a)
		}
	}
	return r, ok
}

// ParseRoutes6 does it in /proc/net/ipv6_route: destination, length of its prefix, source, length, next hop, metric,
// reference count, use, flags, interface, all in hexadecimal.
func ParseRoutes6(b []byte) (r Route, ok bool) {
	var f [10][]byte
	best := uint64(1 << 32)
	for line := range bytes.Lines(b) {
		if !fields(line, f[:]) || string(f[1]) != "00" || string(f[3]) != "00" || !named(f[9]) {
			continue
		}
		flags, err := strconv.ParseUint(string(f[8]), 16, 32)
		metric, worse := strconv.ParseUint(string(f[5]), 16, 32)
		var a [16]byte
		if err != nil || worse != nil || len(f[4]) != 32 || flags&(routeUp|routeReject) != routeUp || metric >= best {
			continue
		}
		if _, err := hex.Decode(a[:], f[4]); err != nil {
			continue
		}
		best, ok = metric, true
		r = Route{Interface: string(f[9])}
		if a != [16]byte{} {
			r.Gateway = netip.AddrFrom16(a)
		}
	}
	return r, ok
}

// ParseNeighbour says of /proc/net/arp (IP address, type, flags, hardware address, mask, device) whether a neighbour's
// hardware address is known there. ATF_COM is 2.
func ParseNeighbour(b []byte, address netip.Addr) Finding {
	want := address.String()
	var f [6][]byte
	for line := range bytes.Lines(b) {
		if !fields(line, f[:]) || string(f[0]) != want {
			continue
		}
		if flags, err := strconv.ParseUint(string(f[2]), 0, 32); err == nil && flags&2 != 0 {
			return Good
		}
		return Bad
	}
	return Unknown
}

// ParseResolv reads resolv.conf(5): at most three servers, and the first domain that names without a dot are looked for in.
func ParseResolv(b []byte) (servers []netip.Addr, domain string) {
	var f [2][]byte
	for line := range bytes.Lines(b) {
		if !fields(line, f[:]) {
			continue
		}
		switch string(f[0]) {
		case "nameserver":
			if a, err := netip.ParseAddr(string(f[1])); err == nil && len(servers) < mostServers {
				servers = append(servers, a)
			}
		case "search", "domain":
			domain = string(f[1])
		}
	}
	return servers, domain
}

// ParseHosts finds a name in hosts(5).
func ParseHosts(b []byte, name string) netip.Addr {
	for line := range bytes.Lines(b) {
		line, _, _ = bytes.Cut(line, []byte{'#'})
		first, rest := word(line)
		for len(first) > 0 {
			var w []byte
			if w, rest = word(rest); len(w) == 0 {
				break
			}
			if a, err := netip.ParseAddr(string(first)); err == nil && string(bytes.ToLower(w)) == name {
				return a
			}
		}
	}
	return netip.Addr{}
}

// fields cuts a line into its first words, and says whether there are so many.
func fields(line []byte, into [][]byte) bool {
	for i := range into {
		if into[i], line = word(line); len(into[i]) == 0 {
			return false
		}
	}
	return true
}

// word cuts b after its first word.
func word(b []byte) (first, rest []byte) {
	b = bytes.TrimLeft(b, " \t\r\n")
	if i := bytes.IndexAny(b, " \t\r\n"); i >= 0 {
		return b[:i], b[i:]
	}
	return b, nil
}

// named reports whether a word can be the name of an interface: it becomes part of a path.
func named(b []byte) bool {
	return len(b) < unix.IFNAMSIZ && b[0] != '.' && bytes.IndexByte(b, '/') < 0
}
