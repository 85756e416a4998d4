package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// What the kernel tells by system calls rather than files is rendered too, so that the calls can be answered from any
// goroutine.
const (
	spaceFile = "backstage/statfs"
	clockFile = "backstage/adjtimex"
)

const statBlockBytes = 4096

func (p *Proc) renderBackstage(files map[string]string) {
	var info, space strings.Builder
	for i, m := range p.Mounts {
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		fmt.Fprintf(&info, "%d 1 179:%d / %s rw,relatime shared:%d - %s %s %s,noatime\n", 20+i, i, escape(m.Point), i+1, m.Type, m.Device, mode)
		fmt.Fprintf(&space, "%q %d %d %d %d %s\n", m.Point, m.TotalBytes/statBlockBytes, m.FreeBytes/statBlockBytes, m.Inodes, m.FreeInodes, mode)
	}
	files["proc/self/mountinfo"] = info.String()
	files[spaceFile] = space.String()
	sync := 1
	if p.Unsynchronised {
		sync = 0
	}
	files[clockFile] = fmt.Sprintf("%d %d\n", sync, p.ClockOffset.Nanoseconds())
}

// escape writes blanks and backslashes as /proc/self/mountinfo does.
func escape(s string) string {
	return strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`).Replace(s)
}

// Statfs answers for the mount points, which lie below Dir. Like the kernel, it answers for a path on a mount, and
// ENOENT for one that lies on none.
func (p *Proc) Statfs(path string, st *unix.Statfs_t) error {
	inside, err := filepath.Rel(p.dir, path)
	if err != nil || inside == ".." || strings.HasPrefix(inside, "../") {
		return unix.ENOENT
	}
	inside = filepath.Join("/", inside)
	text, err := os.ReadFile(filepath.Join(p.dir, spaceFile))
	if err != nil {
		return unix.EIO
	}
	best := ""
	for l := range strings.Lines(string(text)) {
		var point, mode string
		var blocks, free, files, freeFiles uint64
		if _, err := fmt.Sscanf(l, "%q %d %d %d %d %s", &point, &blocks, &free, &files, &freeFiles, &mode); err != nil {
			return unix.EIO
		}
		below := inside == point || strings.HasPrefix(inside, strings.TrimSuffix(point, "/")+"/")
		if !below || len(point) < len(best) {
			continue
		}
		best = point
		*st = unix.Statfs_t{Bsize: statBlockBytes, Frsize: statBlockBytes, Blocks: blocks, Bfree: free, Bavail: free, Files: files, Ffree: freeFiles}
		if mode == "ro" {
			st.Flags = unix.ST_RDONLY
		}
	}
	if best == "" {
		return unix.ENOENT
	}
	return nil
}

// Adjtimex tells the state of the clock. Nothing can be set: EPERM, as for any program but a time daemon.
func (p *Proc) Adjtimex(tx *unix.Timex) (state int, err error) {
	if tx.Modes != 0 {
		return 0, unix.EPERM
	}
	text, err := os.ReadFile(filepath.Join(p.dir, clockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, unix.ENOSYS
	} else if err != nil {
		return 0, unix.EIO
	}
	var sync, nanos int64
	if _, err := fmt.Sscan(string(text), &sync, &nanos); err != nil {
		return 0, unix.EIO
	}
	tx.Status = unix.STA_PLL | unix.STA_NANO
	set(&tx.Offset, nanos)
	set(&tx.Maxerror, 12_000) // microseconds: a server some hops away
	if sync == 0 {
		tx.Status |= unix.STA_UNSYNC
		set(&tx.Maxerror, 16_000_000)
		return unix.TIME_ERROR, nil
	}
	return unix.TIME_OK, nil
}

// set bridges the width of struct timex, 32 bits on some machines and 64 on others.
func set[T ~int32 | ~int64](field *T, v int64) { *field = T(v) }
