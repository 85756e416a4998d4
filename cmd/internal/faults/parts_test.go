//go:build linux

package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// ipv4 is a frame with an IPv4 packet from one address to another.
func ipv4(from, to string) []byte {
	b := make([]byte, 60)
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	copy(b[26:], netip.MustParseAddr(from).AsSlice())
	copy(b[30:], netip.MustParseAddr(to).AsSlice())
	return b
}

// arp is a frame that asks who has an address.
func arp(from, to string) []byte {
	b := make([]byte, 42)
	binary.BigEndian.PutUint16(b[12:], 0x0806)
	copy(b[28:], netip.MustParseAddr(from).AsSlice())
	copy(b[38:], netip.MustParseAddr(to).AsSlice())
	return b
}

func TestTheWireHidesOneSideOfTheGateway(t *testing.T) {
	for _, tt := range []struct {
		name, unreachable string
		frame             []byte
		want              bool
	}{
		{"to the broker", "10.79.0.0/24", ipv4(deviceAddr, brokerAddr), true},
		{"from the broker", "10.79.0.0/24", ipv4(brokerAddr, deviceAddr), true},
		{"to the gateway", "10.79.0.0/24", ipv4(deviceAddr, gatewayAddr), false},
		{"to the broker with the gateway gone", gatewayAddr + "/32", ipv4(deviceAddr, brokerAddr), false},
		{"who has the gateway", gatewayAddr + "/32", arp(deviceAddr, gatewayAddr), true},
		{"the gateway asks", gatewayAddr + "/32", arp(gatewayAddr, deviceAddr), true},
		{"short", "10.79.0.0/24", ipv4(deviceAddr, brokerAddr)[:33], false},
	} {
		w := weather{unreachable: netip.MustParsePrefix(tt.unreachable)}
		if got := w.hides(tt.frame); got != tt.want {
			t.Errorf("%s: hidden %v", tt.name, got)
		}
	}
	if w := (weather{}); w.hides(ipv4(deviceAddr, brokerAddr)) {
		t.Error("fair weather hides")
	}
}

// question asks for the address of a name.
func question(name string, kind byte) []byte {
	q := []byte{0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	return append(q, 0, 0, kind, 0, 1)
}

func TestNamesAreAnswered(t *testing.T) {
	d := names{address: [4]byte{10, 79, 0, 1}}
	q := question(brokerName, 1)
	a := d.answer(q, namesWell)
	if len(a) != len(q)+16 || a[0] != 0xab || a[2]&0x80 == 0 || a[3]&15 != 0 || a[7] != 1 || string(a[len(a)-4:]) != "\x0a\x4f\x00\x01" {
		t.Errorf("%x", a)
	}
	if a := d.answer(question(brokerName, 28), namesWell); len(a) != len(q) || a[7] != 0 || a[3]&15 != 0 {
		t.Errorf("of IPv6 there is none, and that is no error: %x", a)
	}
	if a := d.answer(q, namesRefuse); len(a) != len(q) || a[3]&15 != 2 || a[7] != 0 {
		t.Errorf("SERVFAIL: %x", a)
	}
	if a := d.answer(a, namesWell); a != nil {
		t.Errorf("an answer to an answer: %x", a)
	}
}

func FuzzNames(f *testing.F) {
	f.Add(question(brokerName, 1))
	f.Add(question("x", 28))
	f.Fuzz(func(t *testing.T, q []byte) {
		d := names{}
		if a := d.answer(q, namesWell); a != nil && (len(a) < 17 || len(a) > len(q)+16) {
			t.Errorf("%x: %x", q, a)
		}
	})
}

func TestAllTimeGoesSomewhere(t *testing.T) {
	start := time.Now()
	v := &view{cores: 0.5, at: start, last: usage{user: time.Second, system: time.Second}}
	// In a second: 0.2 of the half core that there is in programs, 0.1 in the kernel, 0.9 s waiting for a disk.
	v.spend(start.Add(time.Second), usage{user: 1100 * time.Millisecond, system: 1050 * time.Millisecond, waitedForDisks: 900 * time.Millisecond})
	want := [4]float64{20, 10, 0, 70}
	for i := range want {
		if d := v.ticks[i] - want[i]; d > 1e-6 || d < -1e-6 {
			t.Errorf("got %v, want %v", v.ticks, want)
		}
	}
}

func TestASensorSaysTheSameOnlyWhenItIsStuck(t *testing.T) {
	s := sensor{rnd: rand.New(rand.NewPCG(1, 1)), noise: 0.05}
	now := time.Now()
	same, last, work := 0, 0, 0.0
	for range 3600 {
		now, work = now.Add(time.Second), work+30
		v := s.read(now, work, 0)
		if v == last {
			same++
		}
		last = v
	}
	if same > 60 || last < 40_000 || last > 55_000 {
		t.Errorf("%d of 3600 as before, the last %d", same, last)
	}
	for range 30 {
		now = now.Add(time.Second)
		last = s.read(now, work, 5)
	}
	if last < 70_000 {
		t.Errorf("what throttles is at %d", last)
	}
	s.stuckAt = 43_210
	for range 10 {
		now, work = now.Add(time.Second), work+100
		if v := s.read(now, work, 0); v != 43_210 {
			t.Errorf("stuck at %d", v)
		}
	}
}
