//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A weather is what happens to frames on the wire, each way.
type weather struct {
	loss        float64       // share of frames that are lost
	delay       time.Duration // of each frame, behind the queue
	jitter      time.Duration // up to so much more; the order is kept
	bitsPerSec  float64
	queueBytes  int          // what waits for its turn; more is lost
	unreachable netip.Prefix // frames to and from there are lost
}

// A wire is two ends of Ethernet whose frames go through this process: one stays here, the other is the device's. The kernel's
// own way to make a link bad, netem, is missing from many.
type wire struct {
	here, there *os.File
	mu          sync.Mutex
	now         weather
	rnd         *rand.Rand
	hung        chan struct{} // closed when a driver that hangs is over it
}

// The ends' names. Each is in a network namespace of its own in the end.
const (
	hereName  = "cloud"
	thereName = "eth0"
)

func newWire(w weather, seed uint64) (*wire, error) {
	x := &wire{now: w, rnd: rand.New(rand.NewPCG(seed, 1))}
	var err error
	if x.here, err = tap(hereName); err == nil {
		x.there, err = tap(thereName)
	}
	return x, err
}

// tap makes an end (Documentation/networking/tuntap.rst). It is gone when its file is closed.
func tap(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make interface %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// carrier plugs the device's end in or out.
func (x *wire) carrier(on bool) error {
	v := 0
	if on {
		v = 1
	}
	raw, err := x.there.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, v) }); err != nil {
		return err
	}
	return failed
}

// hang takes the carrier away until reset says once that the interface is down, or until free.
func (x *wire) hang(reset func() bool) error {
	free := make(chan struct{})
	x.mu.Lock()
	x.hung = free
	x.mu.Unlock()
	go func() {
		for {
			select {
			case <-free:
				return
			case <-time.After(20 * time.Millisecond):
				if reset() {
					_ = x.free()
					return
				}
			}
		}
	}()
	return x.carrier(false)
}

// hangs reports whether the carrier is gone.
func (x *wire) hangs() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.hung != nil
}

// free gives the carrier back.
func (x *wire) free() error {
	x.mu.Lock()
	if x.hung != nil {
		close(x.hung)
		x.hung = nil
	}
	x.mu.Unlock()
	return x.carrier(true)
}

func (x *wire) set(w weather) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.now = w
}

func (x *wire) weather() weather {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.now
}

// run forwards both ways until the ends are closed.
func (x *wire) run() {
	var both sync.WaitGroup
	both.Go(func() { x.way(x.there, x.here) })
	both.Go(func() { x.way(x.here, x.there) })
	both.Wait()
}

func (x *wire) close() {
	x.here.Close()
	x.there.Close()
}

// A frame on its way is due at a time.
type frame struct {
	bytes []byte
	due   time.Time
}

// way forwards one way. What is read waits as long as it would in the queue of a modem and on the line behind it.
func (x *wire) way(from, to *os.File) {
	line := make(chan frame, 4096) // more than a queue holds, of the smallest frames
	defer close(line)
	go func() {
		for f := range line {
			time.Sleep(time.Until(f.due))
			_, _ = to.Write(f.bytes) // an end that is down says EIO, and that is what being down means
		}
	}()
	free := time.Now() // when the modem has sent what waits
	last := free
	var b [2048]byte
	for {
		n, err := from.Read(b[:])
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil || n < 14 { // EIO while the end is down
			time.Sleep(10 * time.Millisecond)
			continue
		}
		now := time.Now()
		w, lucky := x.weather(), x.chance()
		sending := time.Duration(float64(8*n) / w.bitsPerSec * 1e9)
		if free.Before(now) {
			free = now
		}
		waiting := free.Sub(now).Seconds() * w.bitsPerSec / 8
		if lucky < w.loss || waiting > float64(w.queueBytes) || w.hides(b[:n]) {
			continue
		}
		free = free.Add(sending)
		due := free.Add(w.delay + time.Duration(x.chance()*float64(w.jitter)))
		if due.Before(last) {
			due = last
		}
		last = due
		select {
		case line <- frame{append([]byte(nil), b[:n]...), due}:
		default: // lost, as in a full queue
		}
	}
}

func (x *wire) chance() float64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rnd.Float64()
}

// hides reports whether a frame is to or from what cannot be reached: an IPv4 packet, or a question of ARP for the address.
func (w *weather) hides(b []byte) bool {
	if !w.unreachable.IsValid() {
		return false
	}
	var pair [2][]byte
	switch kind := binary.BigEndian.Uint16(b[12:]); {
	case kind == unix.ETH_P_IP && len(b) >= 34:
		pair = [2][]byte{b[26:30], b[30:34]}
	case kind == unix.ETH_P_ARP && len(b) >= 42:
		pair = [2][]byte{b[28:32], b[38:42]}
	default:
		return false
	}
	for _, p := range pair {
		if a, ok := netip.AddrFromSlice(p); ok && w.unreachable.Contains(a) {
			return true
		}
	}
	return false
}
