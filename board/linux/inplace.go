package linux

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Bootloaders read a file system as it lies on the medium: GRUB replays no journal (ext4's rename may be in it alone), and
// FAT has none. So a file that a bootloader reads is never replaced by another. It is overwritten where it lies, by
// writes that change one sector, which a power cut leaves as it was or as it should be.

// fromMedium reads a file of at most so many bytes, past the page cache.
func fromMedium(name string, limitBytes int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return nil, fmt.Errorf("%s: drop cache: %w", name, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, limitBytes+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limitBytes {
		return nil, fmt.Errorf("%s: longer than %d bytes", name, limitBytes)
	}
	return b, nil
}

// moving are file systems that put what is overwritten somewhere else, and that GRUB cannot write (linux/magic.h).
var moving = map[int64]string{0x9123683e: "btrfs", 0xf2f52010: "f2fs", 0x794c7630: "overlay", 0x24051905: "ubifs", 0x2fc12fc1: "zfs"}

// overwrite writes all of a file in place, durably. One that is not there, or has another size, is made anew.
func overwrite(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := stays(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a file", name)
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if info.Size() != int64(len(data)) {
		if err := f.Truncate(int64(len(data))); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if info.Size() != int64(len(data)) {
		return syncDir(filepath.Dir(name))
	}
	return nil
}

// settle makes a file of at most 1 KiB hold the bytes, if it does not.
func settle(name string, data []byte, after func()) error {
	if got, err := fromMedium(name, 1024); err == nil && bytes.Equal(got, data) {
		return nil
	}
	if err := overwrite(name, data); err != nil {
		return err
	}
	after()
	got, err := fromMedium(name, 1024)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("read back: %s holds something else than was written", name)
	}
	return nil
}

// remove removes a file, durably. One that is not there is removed already.
func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// stays reports a file on a file system that writes nothing in place.
func stays(f *os.File) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if kind, bad := moving[int64(s.Type)&0xffffffff]; bad { // the field is of 32 bits, signed, on some machines
		return fmt.Errorf("%s: is on %s, which writes nothing in place", f.Name(), kind)
	}
	return nil
}

// inPlace reports what keeps a file from being overwritten, and changes nothing.
func inPlace(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return stays(f)
}

// doubt adds what an error says of a thing, once.
func doubt(all []string, of string, err error) []string {
	if err == nil {
		return all
	}
	text := err.Error()
	if !strings.Contains(text, of) {
		text = of + ": " + text
	}
	if slices.Contains(all, text) {
		return all
	}
	return append(all, text)
}
