package probe_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"holdfast/collectors/probe"
)

const head4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

// memory is an address as /proc/net/route of this machine has it.
func memory(a string) string {
	b := netip.MustParseAddr(a).As4()
	return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b[:]))
}

func line4(name, gateway, flags, metric string) string {
	return name + "\t00000000\t" + memory(gateway) + "\t" + flags + "\t0\t0\t" + metric + "\t00000000\t0\t0\t0\n"
}

func TestTheDefaultRouteOfVersion4(t *testing.T) {
	lan := "eth0\t" + memory("192.0.2.0") + "\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
	for _, tt := range []struct{ name, text, want string }{
		{"one", head4 + line4("eth0", "192.0.2.1", "0003", "0") + lan, "eth0 192.0.2.1"},
		{"the least metric", head4 + line4("wlan0", "198.51.100.1", "0003", "600") + line4("eth0", "192.0.2.1", "0003", "100") + line4("usb0", "192.0.2.9", "0003", "700"), "eth0 192.0.2.1"},
		{"a link with one other end", head4 + line4("wwan0", "0.0.0.0", "0001", "0"), "wwan0 invalid IP"},
		{"one that is down", head4 + line4("eth0", "192.0.2.1", "0002", "0"), ""},
		{"one that refuses", head4 + line4("eth0", "192.0.2.1", "0201", "0"), ""},
		{"none", head4 + lan, ""},
		{"a name that is a path", head4 + line4("../x", "192.0.2.1", "0003", "0"), ""},
		{"a name that is too long", head4 + line4("abcdefghijklmnop", "192.0.2.1", "0003", "0"), ""},
		{"cut", head4 + "eth0\t00000000\t01", ""},
		{"numbers that are none", head4 + strings.ReplaceAll(line4("eth0", "192.0.2.1", "0003", "0"), "0003", "zz"), ""},
	} {
		r, ok := probe.ParseRoutes4([]byte(tt.text))
		if got := strings.TrimSpace(fmt.Sprint(r.Interface, " ", r.Gateway)); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s: %s, %t, want %s", tt.name, got, ok, tt.want)
		}
	}
}

const none6, gate6 = "00000000000000000000000000000000", "fe8000000000000000fc00fffe000001"

func TestTheDefaultRouteOfVersion6(t *testing.T) {
	line := func(next, metric, flags, name string) string {
		return none6 + " 00 " + none6 + " 00 " + next + " " + metric + " 00000003 00000000 " + flags + "     " + name + "\n"
	}
	for _, tt := range []struct{ name, text, want string }{
		{"one beside the kernel's refusal", line(gate6, "00000400", "00000003", "eth0") + line(none6, "ffffffff", "00200200", "lo"), "eth0 fe80::fc:ff:fe00:1"},
		{"the least metric", line(gate6, "00000400", "00000003", "eth0") + line(gate6, "00000100", "00000003", "wlan0"), "wlan0 fe80::fc:ff:fe00:1"},
		{"a link with one other end", line(none6, "00000400", "00000001", "wwan0"), "wwan0 invalid IP"},
		{"only the refusal", line(none6, "ffffffff", "00200200", "lo"), ""},
		{"a network", "fd" + none6[2:] + " 40 " + none6 + " 00 " + none6 + " 00000100 00000001 00000000 00000001 eth0\n", ""},
		{"an address that is none", line(strings.Repeat("z", 32), "00000400", "00000003", "eth0"), ""},
	} {
		r, ok := probe.ParseRoutes6([]byte(tt.text))
		if got := fmt.Sprint(r.Interface, " ", r.Gateway); ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s: %s, %t, want %s", tt.name, got, ok, tt.want)
		}
	}
}

func TestTheOtherFilesOfTheKernelAndOfEtc(t *testing.T) {
	const arp = "IP address       HW type     Flags       HW address            Mask     Device\n" +
		"192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0\n" +
		"192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        eth0\n"
	for address, want := range map[string]probe.Finding{"192.0.2.1": probe.Good, "192.0.2.7": probe.Bad, "192.0.2.17": probe.Unknown} {
		if got := probe.ParseNeighbour([]byte(arp), netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %d, want %d", address, got, want)
		}
	}
	servers, domain := probe.ParseResolv([]byte("# x\nnameserver 192.0.2.53\n; y\nnameserver fe80::1%eth0\nnameserver x\nsearch lan example.com\n" +
		"nameserver 192.0.2.54\nnameserver 192.0.2.55\noptions ndots:1\n"))
	if got := fmt.Sprint(servers, " ", domain); got != "[192.0.2.53 fe80::1%eth0 192.0.2.54] lan" {
		t.Errorf("resolv.conf: %s", got)
	}
	hosts := []byte("127.0.0.1 localhost\n192.0.2.8\tBroker.lan broker # mine\n#192.0.2.9 gone\n::1\n")
	for name, want := range map[string]string{"broker.lan": "192.0.2.8", "broker": "192.0.2.8", "mine": "invalid IP", "gone": "invalid IP", "": "invalid IP"} {
		if got := probe.ParseHosts(hosts, name).String(); got != want {
			t.Errorf("hosts: %q is %s, want %s", name, got, want)
		}
	}
}

func FuzzFilesOfTheKernel(f *testing.F) {
	f.Add([]byte(head4 + line4("eth0", "192.0.2.1", "0003", "0")))
	f.Add([]byte(none6 + " 00 " + none6 + " 00 " + gate6 + " 00000400 00000003 00000000 00000003     eth0\n"))
	f.Add([]byte("192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0\nnameserver 192.0.2.53\nsearch lan\n192.0.2.1 a\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (probe.Route, bool){probe.ParseRoutes4, probe.ParseRoutes6} {
			if r, ok := parse(b); ok && (r.Interface == "" || len(r.Interface) > 15 || strings.ContainsAny(r.Interface, "/ \n") || r.Interface[0] == '.') {
				t.Errorf("%q is no interface", r.Interface)
			}
		}
		probe.ParseNeighbour(b, netip.MustParseAddr("192.0.2.1"))
		if servers, _ := probe.ParseResolv(b); len(servers) > 3 {
			t.Errorf("%d servers", len(servers))
		}
		probe.ParseHosts(b, "a")
	})
}
