package linux

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountsBytes bounds /proc/self/mountinfo: some thousand mounts.
const mountsBytes = 1 << 20

// A mount is one line of /proc/self/mountinfo (proc(5)).
type mount struct {
	dev      uint64
	point    string
	source   string
	readOnly bool // the file system itself: a read-only mount of one that is written elsewhere does not count
}

func (l Layout) mounts() ([]mount, error) {
	text, err := readSmall(l.under("proc/self/mountinfo"), mountsBytes)
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	mounts, err := parseMounts(text)
	if err != nil {
		return nil, fmt.Errorf("mounts: %w", err)
	}
	return mounts, nil
}

func parseMounts(text string) ([]mount, error) {
	var mounts []mount
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		head, tail, ok := strings.Cut(line, " - ")
		fields, more := strings.Fields(head), strings.Fields(tail)
		if !ok || len(fields) < 6 || len(more) < 3 {
			return nil, fmt.Errorf("line %.120q", line)
		}
		dev, err := parseDev(fields[2])
		if err != nil {
			return nil, fmt.Errorf("line %.120q: %w", line, err)
		}
		m := mount{dev: dev, point: unescape(fields[4]), source: unescape(more[1])}
		for option := range strings.SplitSeq(more[2], ",") {
			m.readOnly = m.readOnly || option == "ro"
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// parseDev reads a device number as major:minor, which is how the kernel prints it.
func parseDev(s string) (uint64, error) {
	major, minor, ok := strings.Cut(strings.TrimSpace(s), ":")
	a, err1 := strconv.ParseUint(major, 10, 32)
	b, err2 := strconv.ParseUint(minor, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("device number %.40q", s)
	}
	return unix.Mkdev(uint32(a), uint32(b)), nil
}

// unescape turns the kernel's \040 and its like back into characters.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// on reports whether the mount is of the device. Some file systems (btrfs) have numbers of their own: their source tells.
func (m mount) on(dev uint64) bool {
	if m.dev == dev {
		return true
	}
	var st unix.Stat_t
	return strings.HasPrefix(m.source, "/") && unix.Stat(m.source, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK &&
		uint64(st.Rdev) == dev
}

// mountedAtRoot returns the devices that what is mounted at / is on, and those below them: the data of a verity device.
func (l Layout) mountedAtRoot() ([]place, error) {
	mounts, err := l.mounts()
	if err != nil {
		return nil, err
	}
	var places []place
	for _, m := range mounts { // the last one is on top
		if m.point != "/" {
			continue
		}
		places = []place{{dev: m.dev}}
		if p, err := l.find(m.source); err == nil && p.block() {
			places = append(places, p)
		}
	}
	for i, depth := 0, 0; i < len(places) && depth < 16; i, depth = i+1, depth+1 {
		below, err := l.neighbours(places[i].dev, "slaves")
		if err != nil {
			return nil, err
		}
		for _, dev := range below {
			places = append(places, place{dev: dev})
		}
	}
	return places, nil
}

func (l Layout) sysBlock(dev uint64, name string) string {
	return l.under(fmt.Sprintf("sys/dev/block/%d:%d/%s", unix.Major(dev), unix.Minor(dev), name))
}

// neighbours returns the devices in /sys/dev/block/…/holders or slaves; none for a number that is no block device's.
func (l Layout) neighbours(dev uint64, relation string) ([]uint64, error) {
	entries, err := os.ReadDir(l.sysBlock(dev, relation))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s of a device: %w", relation, err)
	}
	var found []uint64
	for _, e := range entries {
		n, err := l.readDev(l.sysBlock(dev, relation+"/"+e.Name()+"/dev"))
		if err != nil {
			return nil, fmt.Errorf("%s of a device: %w", relation, err)
		}
		found = append(found, n)
	}
	return found, nil
}

func (l Layout) readDev(name string) (uint64, error) {
	text, err := readSmall(name, 64)
	if err != nil {
		return 0, err
	}
	return parseDev(text)
}

// loops returns the loop devices that stand on the place.
func (l Layout) loops(p place) ([]uint64, error) {
	files, err := filepath.Glob(l.under("sys/block/loop*/loop/backing_file"))
	if err != nil {
		return nil, err
	}
	var found []uint64
	for _, file := range files {
		back, err := readSmall(file, 4096)
		if err != nil {
			continue // it was detached just now
		}
		if q, err := l.find(strings.TrimSuffix(back, "\n")); err != nil || q != p {
			continue
		}
		dev, err := l.readDev(filepath.Join(filepath.Dir(filepath.Dir(file)), "dev"))
		if err != nil {
			return nil, fmt.Errorf("loop device: %w", err)
		}
		found = append(found, dev)
	}
	return found, nil
}
