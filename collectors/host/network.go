package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// DefaultInterfaces leaves out the loopback, the host's ends of container links, and the interfaces that the kernel's
// tunnel modules make for themselves.
var DefaultInterfaces = Filter{Exclude: []string{"lo", "veth*", "ifb*", "dummy*", "sit0", "tunl0", "gre0", "gretap0",
	"erspan0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0"}}

// Network measures the traffic of interfaces between two rounds. The first round of an interface gives its carrier and
// speed only.
type Network struct {
	Root       string           // empty is "/"
	Interfaces Filter           // zero is DefaultInterfaces
	Now        func() time.Time // nil is time.Now

	r     reader
	watch stopwatch
	last  map[string]*nic
	round int
}

// Counters of an interface.
const (
	rxBytes = iota
	txBytes
	rxPackets
	txPackets
	rxErrors
	txErrors
	rxDrops
	txDrops
	nicCounters
)

var nicFields = [nicCounters]string{"rx_bytes_per_second", "tx_bytes_per_second", "rx_packets_per_second",
	"tx_packets_per_second", "rx_errors_per_second", "tx_errors_per_second", "rx_drops_per_second", "tx_drops_per_second"}

type nic struct {
	round int
	stat  [nicCounters]uint64
}

// Name is "network".
func (*Network) Name() string { return "network" }

// Collect emits a sample for each interface.
func (n *Network) Collect(ctx context.Context, emit collectors.Emit) error {
	all, err := interfaces(gopsutil(ctx, n.Root))
	if err != nil {
		return absent("read", n.Root+"/proc/net/dev", err)
	}
	seconds, timed := n.watch.lap(n.Now)
	if n.last == nil {
		n.last = map[string]*nic{}
	}
	n.round++
	var t tally
	count := 0
	for i := range all {
		io := &all[i]
		if !n.Interfaces.orElse(DefaultInterfaces).Has(io.Name) || !plain(io.Name) || count == maxInstances {
			continue
		}
		dev := n.last[io.Name]
		if dev != nil && dev.round == n.round { // listed twice
			continue
		}
		count++
		s := fieldsOf("network", io.Name, nicCounters+2)
		stat := [nicCounters]uint64{io.BytesRecv, io.BytesSent, io.PacketsRecv, io.PacketsSent, io.Errin, io.Errout,
			io.Dropin, io.Dropout}
		if dev == nil {
			dev = &nic{}
			n.last[io.Name] = dev
		} else if timed {
			rates(&s, &dev.stat, &stat, seconds)
		}
		dev.stat, dev.round = stat, n.round
		t.count(n.link(&s))
		if len(s.Fields) > 0 {
			emit(s)
		}
	}
	for name, dev := range n.last {
		if dev.round != n.round {
			delete(n.last, name)
		}
	}
	if err := t.verdict(); !errors.Is(err, collectors.ErrNoData) { // without /sys the rates are still good
		return err
	}
	return nil
}

// rates appends the rates, unless a counter was reset: then the interface was made anew, and none of them means
// anything.
func rates(s *collectors.Sample, before, after *[nicCounters]uint64, seconds float64) {
	var d [nicCounters]uint64
	for i := range d {
		var ok bool
		if d[i], ok = moved(before[i], after[i]); !ok {
			return
		}
	}
	for i, name := range nicFields {
		s.Num(name, float64(d[i])/seconds)
	}
}

// link appends carrier and speed. The kernel answers EINVAL for the carrier of an interface that is down, and for the
// speed of one that has none; speed is in Mbit/s, and -1 where it is not known.
func (n *Network) link(s *collectors.Sample) error {
	dir := n.Root + "/sys/class/net/" + s.Instance
	b, err := n.r.read(dir+"/carrier", smallBytes)
	switch {
	case errors.Is(err, unix.EINVAL):
		truth(s, "carrier", false)
		return nil
	case err != nil:
		return err
	}
	w, _ := word(b)
	up := string(w) == "1"
	truth(s, "carrier", up)
	if !up {
		return nil
	}
	b, err = n.r.read(dir+"/speed", smallBytes)
	switch {
	case errors.Is(err, unix.EINVAL), errors.Is(err, collectors.ErrNoData):
		return nil
	case err != nil:
		return err
	}
	w, _ = word(b)
	if mega, ok := signed(w); !ok {
		return odd(dir+"/speed", b)
	} else if mega > 0 && mega < 1<<32-1 {
		s.Num("speed_bits_per_second", float64(mega)*1e6)
	}
	return nil
}

// interfaces asks gopsutil, which indexes the lines and columns of the file without looking how many there are.
func interfaces(ctx context.Context) (all []net.IOCountersStat, err error) {
	defer func() {
		if p := recover(); p != nil {
			all, err = nil, fmt.Errorf("not as expected: %v", p)
		}
	}()
	return net.IOCountersWithContext(ctx, true)
}
