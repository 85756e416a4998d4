package linux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// goneCheck is how often one who waits for edges asks whether the chip is still there: Linux 6.1 does not wake him when
// it goes.
const goneCheck = 10 * time.Second

// eventBytes is the size of struct gpio_v2_line_event, linux/gpio.h.
const eventBytes = 48

// A chipFile is a chip's character device.
type chipFile struct{ f *os.File }

func openChip(path string) (gpioChip, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || st.Mode()&fs.ModeCharDevice == 0 {
		f.Close()
		return nil, fmt.Errorf("%s: not a character device", path)
	}
	return chipFile{f}, nil
}

func (c chipFile) Close() error { return c.f.Close() }

func (c chipFile) Info() (uapi.ChipInfo, error) { return uapi.GetChipInfo(c.f.Fd()) }

func (c chipFile) Line(offset int) (uapi.LineInfoV2, error) {
	return uapi.GetLineInfoV2(c.f.Fd(), offset)
}

// Request implements gpioChip. The line outlives the chip's file.
func (c chipFile) Request(r *uapi.LineRequest) (gpioRequest, error) {
	if err := uapi.GetLine(c.f.Fd(), r); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(int(r.Fd), true); err != nil { // so that the runtime polls it, and a read can be called off
		unix.Close(int(r.Fd))
		return nil, err
	}
	output := r.Config.Flags.IsOutput()
	return &lineFile{fd: int(r.Fd), f: os.NewFile(uintptr(r.Fd), "gpio line"), output: output}, nil
}

// A lineFile is what the kernel gave for a requested line. Get, Set and Close are called under Line's lock.
type lineFile struct {
	fd     int
	f      *os.File
	output bool
}

// Get implements gpioRequest. An output is not read back; poll(2) tells whether its chip is there.
func (l *lineFile) Get() (bool, error) {
	if l.output {
		return false, present(l.fd)
	}
	v := uapi.LineValues{Mask: 1}
	err := uapi.GetLineValuesV2(uintptr(l.fd), &v)
	return v.Bits&1 != 0, err
}

func (l *lineFile) Set(high bool) error {
	v := uapi.LineValues{Mask: 1}
	if high {
		v.Bits = 1
	}
	return uapi.SetLineValuesV2(uintptr(l.fd), v)
}

func (l *lineFile) Close() error { return l.f.Close() }

// Events implements gpioRequest.
func (l *lineFile) Events(ctx context.Context, f func(uapi.LineEvent)) error {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.f.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 16*eventBytes)
	for {
		if err := l.f.SetReadDeadline(time.Now().Add(goneCheck)); err != nil {
			return err
		}
		if ctx.Err() != nil { // asked after the deadline was set: else it might have replaced the one that calls it off
			return context.Cause(ctx)
		}
		n := 0
		for err = nil; err == nil; n, err = l.f.Read(buf) {
			for b := buf[:n]; len(b) >= eventBytes; b = b[eventBytes:] {
				f(parseEvent(b))
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		var gone error
		if err := raw.Control(func(fd uintptr) { gone = present(int(fd)) }); err != nil || gone != nil {
			return errors.Join(gone, err)
		}
	}
}

// parseEvent reads a struct gpio_v2_line_event; b has eventBytes of it.
func parseEvent(b []byte) uapi.LineEvent {
	order := binary.NativeEndian
	return uapi.LineEvent{Timestamp: order.Uint64(b), ID: uapi.LineEventID(order.Uint32(b[8:])), Offset: order.Uint32(b[12:]),
		Seqno: order.Uint32(b[16:]), LineSeqno: order.Uint32(b[20:])}
}

// present asks whether the chip of a requested line is there. It reads nothing from it.
func present(fd int) error {
	p := []unix.PollFd{{Fd: int32(fd)}}
	for {
		_, err := unix.Poll(p, 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
			return unix.ENODEV
		default:
			return nil
		}
	}
}
