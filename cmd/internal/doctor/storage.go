package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	freeShare  = 0.05 // of a file system's room or inodes, below which it is time to worry
	freeBytes  = 8 << 20
	freeInodes = 64
)

// storage looks at the state directory and the spool in it. What does not answer in time fails.
func (x *examination) storage(ctx context.Context) {
	dir := x.o.Config.StateDir
	var state, spool Check
	if !within(ctx, localLimit, func() { state, spool = x.state(dir), x.spool(filepath.Join(dir, "spool")) }) {
		state = Check{Outcome: Fail, Seen: dir + " does not answer", Hint: "look at dmesg: the disk is broken, or a network mount is gone"}
		spool = Check{Outcome: Skipped, Seen: "because state failed"}
	}
	state.Name, spool.Name = "state", "spool"
	x.add(state)
	x.add(spool)
}

func (x *examination) state(dir string) Check {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Check{Outcome: Warn, Seen: dir + " is not there", Hint: "it is made when the agent starts; systemctl start holdfast"}
	case errors.Is(err, fs.ErrPermission):
		return Check{Outcome: Skipped, Seen: "needs root: " + err.Error()}
	case err != nil:
		return Check{Outcome: Fail, Seen: err.Error(), Hint: "look at state_dir in " + x.o.File}
	case !info.IsDir():
		return Check{Outcome: Fail, Seen: dir + " is not a directory", Hint: "look at state_dir in " + x.o.File}
	}
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Check{Outcome: Fail, Seen: dir + ": " + err.Error(), Hint: "look at dmesg"}
	}
	if s.Flags&unix.ST_RDONLY != 0 {
		return Check{Outcome: Fail, Seen: dir + " is on a read-only file system",
			Hint: "mount it for writing; where the kernel turned it read-only after errors, dmesg says so and fsck comes first"}
	}
	if c := x.writable(dir, info); c.Outcome != OK {
		return c
	}
	return Room(dir, int64(s.Bavail)*int64(s.Bsize), int64(s.Blocks)*int64(s.Bsize), int64(s.Ffree), int64(s.Files))
}

// writable makes a file, durably, and removes it.
func (x *examination) writable(dir string, info fs.FileInfo) Check {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && x.underSystemd() {
		if uid, _, known := x.o.Account(x.o.Config.Warden.User); known && int(st.Uid) != uid {
			return Check{Outcome: Fail, Seen: fmt.Sprintf("%s belongs to user %d, the agent is %s", dir, st.Uid, x.o.Config.Warden.User),
				Hint: fmt.Sprintf("chown -R %s: %s", x.o.Config.Warden.User, dir)}
		}
	}
	f, err := os.CreateTemp(dir, ".doctor-")
	if err == nil {
		_, err = f.WriteString("doctor\n")
		err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	switch {
	case errors.Is(err, fs.ErrPermission) && x.o.UID != 0:
		return Check{Outcome: Skipped, Seen: "needs root: this user cannot write to " + dir}
	case errors.Is(err, syscall.ENOSPC):
		return Check{Outcome: Fail, Seen: dir + " is full", Hint: "make room: du -xh / | sort -h | tail; telemetry goes on from memory meanwhile"}
	case err != nil:
		return Check{Outcome: Fail, Seen: err.Error(), Hint: "the agent must be able to write to state_dir; dmesg tells of a broken disk"}
	}
	return Check{Outcome: OK}
}

// Room judges what is left of a file system: bytes and inodes, free and in all. One without a table of inodes has 0.
func Room(dir string, free, all, inodes, allInodes int64) Check {
	c := Check{Outcome: OK, Seen: fmt.Sprintf("%s is writable, %s of %s free", dir, size(free), size(all))}
	if allInodes > 0 { // btrfs and others have no table of them
		c.Seen += fmt.Sprintf(", %d of %d inodes", inodes, allInodes)
	}
	switch {
	case free < freeBytes || allInodes > 0 && inodes < freeInodes:
		c.Outcome, c.Hint = Fail, "make room: du -xh / | sort -h | tail"
	case float64(free) < freeShare*float64(all) && free < 1<<30, allInodes > 0 && float64(inodes) < freeShare*float64(allInodes):
		c.Outcome, c.Hint = Warn, "it is nearly full; du -xh / | sort -h | tail shows what takes the room"
	}
	return c
}

func size(n int64) string {
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if float64(n) >= u.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// spoolFull is the share of the spool's limit from which on records are about to be dropped.
const spoolFull = 0.8

func (x *examination) spool(dir string) Check {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Check{Outcome: OK, Seen: "empty"}
	case errors.Is(err, fs.ErrPermission) && x.o.UID != 0:
		return Check{Outcome: Skipped, Seen: "needs root: " + err.Error()}
	case err != nil:
		return Check{Outcome: Fail, Seen: err.Error(), Hint: "look at dmesg; the agent goes on from memory meanwhile"}
	}
	var used int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			used += (info.Size() + 4095) &^ 4095
		}
	}
	limit := x.o.Config.Spool.LimitBytes
	c := Check{Outcome: OK, Seen: fmt.Sprintf("%s of %s used", size(used), limit)}
	if s := x.status; s != nil {
		c.Seen += fmt.Sprintf(", %d records wait, %d dropped since the agent started", s.Spool.Waiting, s.Spool.Dropped)
		if s.Spool.Degraded != "" {
			c.Outcome, c.Seen, c.Hint = Fail, "the agent runs from memory alone: "+s.Spool.Degraded, "see the check state"
			return c
		}
	}
	if float64(used) > spoolFull*float64(limit) {
		c.Outcome, c.Hint = Warn, "it fills while the broker is out of reach, and the oldest telemetry is dropped first: see the checks dns to login, or raise spool.limit"
	}
	return c
}

// flash looks at what eMMC chips say of their wear (JEDEC JESD84-B51, EXT_CSD [267:269]), which Linux shows below
// /sys/block/mmcblk*/device.
func (x *examination) flash() {
	found, _ := filepath.Glob(filepath.Join(x.o.Config.Root, "sys/block/mmcblk*")) // the pattern is good
	told := false
	for _, dir := range found[:min(len(found), 16)] {
		name := filepath.Base(dir)
		if strings.Contains(name, "boot") || strings.Contains(name, "rpmb") {
			continue // parts of the same chip
		}
		life, errLife := readWord(filepath.Join(dir, "device/life_time"))
		eol, errEOL := readWord(filepath.Join(dir, "device/pre_eol_info"))
		if errLife != nil && errEOL != nil {
			continue // an SD card, which does not tell
		}
		told = true
		c := Wear(life, eol)
		c.Name, c.Subject = "flash", name
		x.add(c)
	}
	if !told {
		x.skip("flash", "", "no eMMC that tells its wear")
	}
}

func readWord(name string) (string, error) {
	b, err := readBounded(name)
	return strings.TrimSpace(string(b[:min(len(b), 64)])), err
}

// Wear judges the texts of life_time, two estimates in tenths of the life that is over, and of pre_eol_info, which tells
// of the reserve blocks.
func Wear(life, eol string) Check {
	worst := 0
	for i, f := range strings.Fields(life) {
		if v, err := strconv.ParseUint(f, 0, 8); err == nil && i < 2 {
			worst = max(worst, int(v))
		}
	}
	reserve, err := strconv.ParseUint(eol, 0, 8)
	c := Check{Outcome: OK}
	switch {
	case worst == 0 && (err != nil || reserve == 0):
		return Check{Outcome: Skipped, Seen: "the chip does not tell its wear"}
	case worst > 10:
		c.Outcome, c.Seen = Fail, "past its designed life"
	case worst > 0:
		c.Seen = fmt.Sprintf("%d to %d %% of its life used", 10*(worst-1), 10*worst)
	default:
		c.Seen = "life not told"
	}
	if worst >= 9 && c.Outcome == OK {
		c.Outcome = Warn
	}
	switch reserve {
	case 1:
		c.Seen += ", reserve blocks normal"
	case 2:
		c.Seen += ", 80 % of the reserve blocks used"
		if c.Outcome == OK {
			c.Outcome = Warn
		}
	case 3:
		c.Outcome, c.Seen = Fail, c.Seen+", 90 % of the reserve blocks used"
	}
	if c.Outcome != OK {
		c.Hint = "replace the board or its eMMC soon; until then write less: journald in memory (Storage=volatile), a longer telemetry.digest"
	}
	return c
}
