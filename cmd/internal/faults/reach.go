//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// inside is a path on the device, as seen from here.
func (d *device) inside(path string) string { return fmt.Sprintf("/proc/%d/root%s", d.one, path) }

// run runs a program on the device.
func (d *device) run(ctx context.Context, args ...string) (string, error) {
	return d.b.do(ctx, "nsenter", append([]string{"-t", strconv.Itoa(d.one), "-a", "--"}, args...)...)
}

// slowDisk bounds the operations on the disk that holds the images, as those of an SD card are.
func (d *device) slowDisk() error {
	var st syscall.Stat_t
	if err := syscall.Stat(d.b.dir, &st); err != nil {
		return err
	}
	major, minor := st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&0xfff00
	return d.g.throttle(fmt.Sprintf("%d:%d", major, minor), d.limit.diskOps)
}

// order tells the application.
func (d *device) order(o order) error {
	c, err := net.DialTimeout("unix", d.inside(appSocket), 2*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	if err := json.NewEncoder(c).Encode(o); err != nil {
		return err
	}
	said, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && strings.TrimSpace(said) != "<nil>" {
		err = errors.New(strings.TrimSpace(said))
	}
	return err
}

// mend ends whatever the application does or has left.
func (d *device) mend(ctx context.Context) error {
	for _, name := range []string{appSpoilt, appCache + "/junk", appCache + "/grind"} {
		if err := os.Remove(d.inside(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	_, err := d.run(ctx, "systemctl", "restart", appUnit)
	return err
}

// A mark says which process the application is, and since when.
type mark struct {
	app   int
	since time.Time
}

// mark looks for the application without running anything on the device, which would be measured there.
func (d *device) mark() (m mark) {
	all, _ := os.ReadDir(d.v.proc)
	for _, e := range all {
		dir := d.v.proc + "/" + e.Name()
		if name, err := os.ReadFile(dir + "/comm"); err != nil || text(name) != filepath.Base(appPath) {
			continue
		}
		st, err := os.Stat(dir)
		pid, numeric := strconv.Atoi(e.Name())
		if err != nil || numeric != nil || m.app != 0 && st.ModTime().After(m.since) {
			continue // a process that it has just made has its name for a moment
		}
		m = mark{app: pid, since: st.ModTime()}
	}
	return m
}

// forget has the device's warden forget what it repaired and when, as if days had passed: a fault that comes again within an hour
// would begin a rung up, and after a pause.
func (d *device) forget() error {
	err := os.Remove(d.inside("/var/lib/holdfast-warden/repairs"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// words are the last that units of the device said.
func (d *device) words(units ...string) string {
	args := []string{"journalctl", "--no-pager", "-n", "40", "-o", "cat"}
	for _, u := range units {
		args = append(args, "-u", u)
	}
	out, _ := d.run(context.Background(), args...)
	return out
}

// off ends the device.
func (d *device) off() {
	if d.g != nil {
		d.g.kill()
	}
	if d.boot != nil && d.boot.Process != nil {
		_ = d.boot.Process.Kill()
		_ = d.boot.Wait()
	}
	for _, at := range []string{"root/data", "root"} {
		for range 30 {
			err := syscall.Unmount(d.b.path(at), 0)
			if err == nil || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOENT) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	if d.g != nil {
		_ = d.g.remove()
	}
}

func text(b []byte) string { return string(bytes.TrimSpace(b)) }
