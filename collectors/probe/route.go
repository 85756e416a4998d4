package probe

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const mostServers = 3 // of resolv.conf(5)

var newline = []byte{'\n'}

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
	return routes(b, columns{name: 0, gateway: 2, flags: 3, metric: 6, base: 10, zero: 1, also: 7, count: 8, what: "00000000"})
}

// ParseRoutes6 does it in /proc/net/ipv6_route: destination, length of its prefix, source, length, next hop, metric,
// reference count, use, flags, interface, all in hexadecimal.
func ParseRoutes6(b []byte) (r Route, ok bool) {
	return routes(b, columns{name: 9, gateway: 4, flags: 8, metric: 5, base: 16, zero: 1, also: 3, count: 10, what: "00"})
}

// columns say where what is in a table of routes.
type columns struct {
	name, gateway, flags, metric int
	base                         int // of the metric
	zero, also                   int // these are as what, in a default route
	count                        int
	what                         string
}

func routes(b []byte, c columns) (r Route, ok bool) {
	var words [10][]byte
	f := words[:c.count]
	best := uint64(1 << 32)
	for line := b; len(b) > 0; {
		line, b, _ = bytes.Cut(b, newline)
		if !fields(line, f) || string(f[c.zero]) != c.what || string(f[c.also]) != c.what || !named(f[c.name]) {
			continue
		}
		flags, err := strconv.ParseUint(string(f[c.flags]), 16, 32)
		metric, worse := strconv.ParseUint(string(f[c.metric]), c.base, 32)
		var a [16]byte
		n, broken := hex.Decode(a[:], f[c.gateway][:min(len(f[c.gateway]), 32)])
		if err != nil || worse != nil || broken != nil || flags&(routeUp|routeReject) != routeUp || metric >= best {
			continue
		}
		best, ok = metric, true
		r = Route{Interface: string(f[c.name])}
		switch {
		case a == [16]byte{}:
		case n == 4:
			binary.NativeEndian.PutUint32(a[:4], binary.BigEndian.Uint32(a[:4]))
			r.Gateway, _ = netip.AddrFromSlice(a[:4])
		case n == 16:
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
	for line := b; len(b) > 0; {
		line, b, _ = bytes.Cut(b, newline)
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
	for line := b; len(b) > 0; {
		line, b, _ = bytes.Cut(b, newline)
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
	for line := b; len(b) > 0; {
		line, b, _ = bytes.Cut(b, newline)
		line, _, _ = bytes.Cut(line, []byte{'#'})
		first, rest := word(line)
		for len(first) > 0 {
			var w []byte
			if w, rest = word(rest); len(w) == 0 {
				break
			}
			if a, err := netip.ParseAddr(string(first)); err == nil && strings.EqualFold(string(w), name) {
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
	i := 0
	for i < len(b) && b[i] <= ' ' {
		i++
	}
	j := i
	for j < len(b) && b[j] > ' ' {
		j++
	}
	return b[i:j], b[j:]
}

// named reports whether a word can be the name of an interface: it becomes part of a path.
func named(b []byte) bool {
	return len(b) < unix.IFNAMSIZ && b[0] != '.' && bytes.IndexByte(b, '/') < 0
}
