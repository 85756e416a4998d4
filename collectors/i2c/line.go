package i2c

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
)

// A line is a bus as the driver of one chip has it. It bounds what a reading may ask, since periph's bmxx80 waits for ever
// for a chip whose status says that it measures; it keeps the bus's own error, of which periph's drivers keep the words or
// nothing; and it lets us look at what a chip answers.
type line struct {
	i2c.Bus
	left   int                                  // questions that this reading may still ask
	err    error                                // the first of this reading
	wait   func(time.Duration) error            // lets the chip measure; an error when the reading is given up
	before func(address uint16, w []byte) error // may be nil
	after  func(w, r []byte) error              // may be nil
}

const mostQuestions = 1000 // of one reading: a chip is asked some ten times, or a few hundred while it measures

func (l *line) begin(wait func(time.Duration) error) {
	l.left, l.err, l.wait = mostQuestions, nil, wait
}

// Tx implements i2c.Bus.
func (l *line) Tx(address uint16, w, r []byte) (err error) {
	if l.left--; l.left < 0 {
		err = errEndless
	}
	if err == nil && l.before != nil {
		err = l.before(address, w)
	}
	if err == nil {
		err = l.Bus.Tx(address, w, r)
	}
	if err == nil && l.after != nil {
		err = l.after(w, r)
	}
	if err != nil && l.err == nil {
		l.err = err
	}
	return err
}

// A Device is a bus of the kernel (Documentation/i2c/dev-interface.rst).
type Device struct {
	path string
	file *os.File
}

// From linux/i2c-dev.h and linux/i2c.h.
const (
	ioctlFuncs = 0x0705
	ioctlRdwr  = 0x0707
	funcI2C    = 1
	flagRead   = 1
)

// message is struct i2c_msg, exchange struct i2c_rdwr_ioctl_data.
type message struct {
	address, flags, length uint16
	buffer                 *byte
}

type exchange struct {
	messages *message
	count    uint32
}

// Open opens a bus such as /dev/i2c-1. Adapters that know nothing but SMBus, as those of PCs, are refused.
func Open(path string) (*Device, error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("i2c bus: %w", err)
	}
	var can uintptr // unsigned long
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), ioctlFuncs, uintptr(unsafe.Pointer(&can))); errno != 0 {
		err = fmt.Errorf("i2c bus %s: is none: %w", path, errno)
	} else if can&funcI2C == 0 {
		err = fmt.Errorf("i2c bus %s: its adapter knows SMBus only", path)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &Device{path, file}, nil
}

// String implements i2c.Bus.
func (d *Device) String() string { return d.path }

// SetSpeed implements i2c.Bus: the speed is the device tree's.
func (d *Device) SetSpeed(physic.Frequency) error { return errors.ErrUnsupported }

// Close implements i2c.BusCloser.
func (d *Device) Close() error { return d.file.Close() }

// Tx implements i2c.Bus: writes w and reads r without letting go of the bus in between. A chip that does not acknowledge is
// ENXIO or EREMOTEIO, as the adapter has it.
func (d *Device) Tx(address uint16, w, r []byte) error {
	if address > 0x7f || len(w) > 8192 || len(r) > 8192 {
		return fmt.Errorf("i2c bus %s: exchange of %d and %d bytes with %#x: %w", d.path, len(w), len(r), address, syscall.EINVAL)
	}
	var both [2]message
	n := 0
	if len(w) > 0 {
		both[n] = message{address, 0, uint16(len(w)), &w[0]}
		n++
	}
	if len(r) > 0 {
		both[n] = message{address, flagRead, uint16(len(r)), &r[0]}
		n++
	}
	if n == 0 {
		return nil
	}
	x := exchange{&both[0], uint32(n)}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.file.Fd(), ioctlRdwr, uintptr(unsafe.Pointer(&x)))
		runtime.KeepAlive(&both)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("i2c bus %s: chip %#x: %w", d.path, address, errno)
		}
	}
}

// absentBus reports whether the bus itself has gone, as one behind USB does.
func absentBus(err error) bool { return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESHUTDOWN) }
