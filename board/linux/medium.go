package linux

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// bufferBytes is what is gathered before it is written, and what is read past the cache at a time. Two buffers of it
	// are all the memory a medium has.
	bufferBytes = 128 << 10
	// directBytes is the alignment of direct reads; logical blocks have 512 to 4096 bytes.
	directBytes = 4096
)

// A medium is a part opened to be written. Writes that follow one another are gathered into aligned ones.
type medium struct {
	file  *os.File
	bytes int64
	block bool
	grows bool // a file as long as what was written to it, bytes at most
	log   *slog.Logger

	closed   bool
	gathered []byte // not written yet
	start    int64  // of what is gathered
	// fault is the first write or sync that did not succeed. What was lost with it is not known, and the kernel reports a
	// fault of the medium once: no later sync can make it good.
	fault error

	direct *os.File // the same file past the page cache; nil before the first read, and where that cannot be
	cached bool     // direct reads are not possible: the cache is dropped before each read instead
	window []byte   // aligned memory for direct reads
}

func (m *medium) check() error {
	if m.closed {
		return fmt.Errorf("part %s: %w", m.file.Name(), os.ErrClosed)
	}
	return nil
}

// WriteAt implements board.Medium. What is not all inside the part is not written at all. What it returns nil for may
// still wait in memory; the fault of an earlier write is returned by a later one, or by Sync.
func (m *medium) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > m.bytes || int64(len(p)) > m.bytes-off {
		return 0, fmt.Errorf("write %s: %d bytes at %d of %d: %w", m.file.Name(), len(p), off, m.bytes, unix.ENOSPC)
	}
	if err := m.check(); err != nil {
		return 0, err
	}
	if m.fault != nil {
		return 0, m.fault
	}
	if off != m.start+int64(len(m.gathered)) {
		if err := m.flush(); err != nil {
			return 0, err
		}
	}
	for done := 0; done < len(p); {
		here := off + int64(done)
		n := min(len(p)-done, bufferBytes-int(here%bufferBytes))
		if len(m.gathered) == 0 {
			m.start = here
			if n == bufferBytes { // nothing to gather
				if err := m.put(p[done:done+n], here); err != nil {
					return done, err
				}
				done += n
				continue
			}
		}
		if m.gathered == nil {
			m.gathered = make([]byte, 0, bufferBytes)
		}
		m.gathered = append(m.gathered, p[done:done+n]...)
		done += n
		if (here+int64(n))%bufferBytes == 0 {
			if err := m.flush(); err != nil {
				return done, err
			}
		}
	}
	return len(p), nil
}

// flush writes what is gathered.
func (m *medium) flush() error {
	p := m.gathered
	m.gathered = m.gathered[:0]
	return m.put(p, m.start)
}

// put writes, and has the kernel begin to carry it to the medium without waiting for that.
func (m *medium) put(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if m.fault != nil {
		return m.fault
	}
	if _, err := m.file.WriteAt(p, off); err != nil {
		m.fault = err
		return err
	}
	_ = unix.SyncFileRange(int(m.file.Fd()), off, int64(len(p)), unix.SYNC_FILE_RANGE_WRITE) // it comes with Sync at the latest
	return nil
}

// Sync implements board.Medium. After a write or a sync that did not succeed it never succeeds again: the part has to be
// opened anew, and what was written since the last good sync to be written again.
func (m *medium) Sync() error {
	if err := m.check(); err != nil {
		return err
	}
	if err := m.flush(); err != nil {
		return err
	}
	if m.fault == nil {
		m.fault = m.file.Sync()
	}
	return m.fault
}

// Close implements board.Medium. What is gathered is written, but nothing is synced.
func (m *medium) Close() error {
	if err := m.check(); err != nil {
		return err
	}
	err := m.flush()
	m.closed = true
	if m.direct != nil {
		_ = m.direct.Close() // only read
		m.direct = nil
	}
	if m.window != nil {
		_ = unix.Munmap(m.window)
		m.window = nil
	}
	return errors.Join(err, m.file.Close())
}

// erase gives up the content where the medium can: a discarded block reads as anything until it is written.
func (m *medium) erase() error {
	var err error
	if m.block {
		whole := [2]uint64{0, uint64(m.bytes)}
		_, _, no := unix.Syscall(unix.SYS_IOCTL, m.file.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&whole)))
		if no != 0 {
			err = no
		}
	} else {
		err = unix.Fallocate(int(m.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, m.bytes)
	}
	// Media that cannot discard, or not in these units, say one of these.
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// ReadAt implements board.Medium: it reads past the page cache (O_DIRECT). The kernel writes what is still in the cache
// before. Where direct reads are not possible the cache is dropped before each read, which is logged once.
func (m *medium) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s at %d: %w", m.file.Name(), off, os.ErrInvalid)
	}
	if err := m.check(); err != nil {
		return 0, err
	}
	if err := m.flush(); err != nil {
		return 0, err
	}
	end, err := m.end()
	if err != nil {
		return 0, err
	}
	for done := 0; done < len(p); {
		here := off + int64(done)
		if here >= end {
			return done, io.EOF
		}
		n, err := m.past(p[done:], here)
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// end returns how far there is something to read.
func (m *medium) end() (int64, error) {
	if !m.grows {
		return m.bytes, nil
	}
	info, err := m.file.Stat()
	if err != nil {
		return 0, err
	}
	return min(info.Size(), m.bytes), nil
}

// past reads some of the medium, at least one byte.
func (m *medium) past(p []byte, off int64) (int, error) {
	if !m.cached && m.direct == nil {
		file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", m.file.Fd()), os.O_RDONLY|unix.O_DIRECT, 0)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
			m.indirect(err)
		} else if err != nil {
			return 0, fmt.Errorf("read %s: %w", m.file.Name(), err)
		} else if m.window, err = unix.Mmap(-1, 0, bufferBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
			file.Close()
			return 0, fmt.Errorf("read %s: aligned memory: %w", m.file.Name(), err)
		} else {
			m.direct = file
		}
	}
	if m.cached {
		return m.dropped(p, off)
	}
	before := int(off % directBytes)
	want := min(len(m.window), (before+len(p)+directBytes-1)/directBytes*directBytes)
	n, err := unix.Pread(int(m.direct.Fd()), m.window[:want], off-int64(before))
	switch {
	case errors.Is(err, unix.EINTR):
		return 0, nil
	case errors.Is(err, unix.EINVAL):
		m.indirect(err)
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read %s at %d: %w", m.file.Name(), off, err)
	case n <= before:
		return 0, fmt.Errorf("read %s at %d: %w", m.file.Name(), off, io.ErrUnexpectedEOF)
	}
	return copy(p, m.window[before:n]), nil
}

func (m *medium) indirect(err error) {
	m.cached = true
	m.log.Warn("direct reads are not possible; the page cache is dropped before each", "part", m.file.Name(), "err", err)
}

// dropped reads after the page cache was written and dropped. Pages that somebody else has mapped stay.
func (m *medium) dropped(p []byte, off int64) (int, error) {
	if err := m.Sync(); err != nil {
		return 0, err
	}
	fd := int(m.file.Fd())
	p = p[:min(len(p), bufferBytes, int(min(m.bytes-off, bufferBytes)))]
	from, to := off/directBytes*directBytes, (off+int64(len(p))+directBytes-1)/directBytes*directBytes
	if err := unix.Fadvise(fd, from, to-from, unix.FADV_DONTNEED); err != nil {
		return 0, fmt.Errorf("drop cache of %s: %w", m.file.Name(), err)
	}
	n, err := m.file.ReadAt(p, off)
	if err != nil && (n == 0 || !errors.Is(err, io.EOF)) {
		return 0, err
	}
	return n, nil
}
