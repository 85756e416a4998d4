package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// Disk measures the space of configured file systems.
//
// A statfs on a network mount whose server has gone does not return, for hours, and cannot be interrupted. So each
// mount has a goroutine of its own for each call, the round waits Patience for all of them together, and a mount that
// still hangs is not asked again before it has answered: one goroutine and one thread are lost at most for each mount.
type Disk struct {
	Root     string                                     // put before every mount point; empty is "/"
	Mounts   []string                                   // mount points; nil is "/"
	Statfs   func(path string, st *unix.Statfs_t) error // nil is unix.Statfs
	Patience time.Duration                              // how long a round waits; 0 is 2 s

	r     reader
	asked map[string]*question // by mount point; those under way
}

type question struct {
	answer chan answer // capacity 1, so that a late answer does not hold its goroutine
	late   bool        // a round has waited for it in vain; the next ones only look
}

type answer struct {
	st  unix.Statfs_t
	err error
}

// Name is "disk".
func (*Disk) Name() string { return "disk" }

// Collect emits a sample for each mount point that answers. A mount point with nothing mounted says mounted=false and
// no more: the space under it is that of another file system.
func (d *Disk) Collect(ctx context.Context, emit collectors.Emit) error {
	mounts := d.Mounts
	if mounts == nil {
		mounts = []string{"/"}
	}
	table, err := d.table(mounts)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if table == nil || table[m].mounted {
			d.ask(m)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Patience, 2*time.Second))
	defer cancel()
	var faults []error
	for _, m := range mounts {
		if table != nil && !table[m].mounted {
			s := fieldsOf("disk", m, 1)
			truth(&s, "mounted", false)
			emit(s)
			continue
		}
		a, ok := d.await(ctx, m)
		switch {
		case !ok:
			faults = append(faults, fmt.Errorf("statfs %s: no answer for now", m))
		case a.err != nil:
			faults = append(faults, fmt.Errorf("statfs %s: %w", m, a.err))
		default:
			readOnly := a.st.Flags&unix.ST_RDONLY != 0
			if table != nil {
				readOnly = table[m].readOnly
			}
			emit(space(m, &a.st, readOnly))
		}
	}
	return errors.Join(faults...)
}

// ask starts a statfs unless one is under way.
func (d *Disk) ask(mount string) {
	if d.asked[mount] != nil {
		return
	}
	if d.asked == nil {
		d.asked = map[string]*question{}
	}
	statfs, full := d.Statfs, path.Join("/", d.Root, mount)
	if statfs == nil {
		statfs = unix.Statfs
	}
	ch := make(chan answer, 1)
	d.asked[mount] = &question{answer: ch}
	go func() {
		var a answer
		_, a.err = retry(func() (int, error) { return 0, statfs(full, &a.st) })
		ch <- a
	}()
}

// await returns the answer, if it comes in time. One that is there already is taken even when the time is up: a mount
// that hangs uses up the patience of the whole round.
func (d *Disk) await(ctx context.Context, mount string) (a answer, ok bool) {
	q := d.asked[mount]
	select {
	case a = <-q.answer:
		delete(d.asked, mount)
		return a, true
	default:
	}
	if q.late {
		return a, false
	}
	select {
	case a = <-q.answer:
		delete(d.asked, mount)
		return a, true
	case <-ctx.Done():
		q.late = true
		return a, false
	}
}

// space makes the sample. Used and free add up as df(1) has it: what is kept for root counts as neither.
func space(mount string, st *unix.Statfs_t, readOnly bool) collectors.Sample {
	unit := float64(st.Frsize)
	if unit <= 0 {
		unit = float64(st.Bsize)
	}
	total, unused, free := float64(st.Blocks), float64(st.Bfree), float64(st.Bavail)
	used := max(total-unused, 0)
	s := fieldsOf("disk", mount, 7)
	s.Num("total_bytes", total*unit).Num("free_bytes", free*unit).Num("used_ratio", ratio(used, used+free))
	if st.Files > 0 { // btrfs and vfat make inodes as they need them
		files := float64(st.Files)
		s.Num("inodes_total", files).Num("inodes_used_ratio", ratio(files-float64(st.Ffree), files))
	}
	truth(&s, "read_only", readOnly)
	truth(&s, "mounted", true)
	return s
}

type mount struct{ mounted, readOnly bool }

// table looks the mount points up in /proc/self/mountinfo. It is nil, without an error, where there is none.
//
// Whether a file system is read-only is asked there, not of statfs: in a unit with ProtectSystem= every mount is
// read-only to the agent, while the options of the file system itself tell what became of it.
func (d *Disk) table(mounts []string) (map[string]mount, error) {
	b, err := d.r.read(d.Root+"/proc/self/mountinfo", largeBytes)
	if errors.Is(err, collectors.ErrNoData) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	found := make(map[string]mount, len(mounts))
	for len(b) > 0 {
		var l []byte
		l, b = line(b)
		if point, readOnly, ok := parseMount(l); ok && slices.Contains(mounts, string(point)) {
			found[string(point)] = mount{mounted: true, readOnly: readOnly} // a later mount covers an earlier one
		}
	}
	if root := found["/"]; !root.mounted {
		return nil, nil // in a chroot the list has other names than ours
	}
	return found, nil
}

// parseMount reads the mount point and the file system's own options from a line of proc_pid_mountinfo(5):
// "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue".
func parseMount(l []byte) (point []byte, readOnly, ok bool) {
	head, tail, ok := bytes.Cut(l, []byte(" - "))
	if !ok {
		return nil, false, false
	}
	for range 5 {
		point, head = word(head)
	}
	_, tail = word(tail)
	_, tail = word(tail)
	options, _ := word(tail)
	for len(options) > 0 {
		var o []byte
		o, options, _ = bytes.Cut(options, []byte{','})
		// Since 6.15 ext4 stops writing after an error without calling itself "ro".
		readOnly = readOnly || string(o) == "ro" || string(o) == "emergency_ro"
	}
	return unescape(point), readOnly, len(point) > 0
}

// unescape replaces \040 and the like, which mountinfo has for blanks and backslashes, in place.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	out := b[:0]
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+3 < len(b) && b[i+1] <= '3' && octal(b[i+1]) && octal(b[i+2]) && octal(b[i+3]) {
			out = append(out, (b[i+1]-'0')<<6|(b[i+2]-'0')<<3|(b[i+3]-'0'))
			i += 3
			continue
		}
		out = append(out, b[i])
	}
	return out
}

func octal(c byte) bool { return c >= '0' && c <= '7' }
