package host_test

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors/host"
)

func statfs(path string, st *unix.Statfs_t) error {
	switch {
	case strings.HasSuffix(path, "/boot"):
		*st = unix.Statfs_t{Bsize: 512, Frsize: 512, Blocks: 1000, Bfree: 250, Bavail: 250} // vfat: no inodes
	case strings.HasSuffix(path, "/usb stick"):
		*st = unix.Statfs_t{Bsize: 4096, Blocks: 1 << 33, Bfree: 1 << 32, Bavail: 1 << 32, Files: 10, Ffree: 9} // 32 TiB
	case strings.HasSuffix(path, "/nas"):
		return unix.ESTALE
	default:
		// 5% are kept for root: used 600, free 350, so df says 63.16 %.
		*st = unix.Statfs_t{Bsize: 65536, Frsize: 4096, Blocks: 1000, Bfree: 400, Bavail: 350, Files: 200, Ffree: 150, Flags: unix.ST_RDONLY}
	}
	return nil
}

func TestAHungMountHidesNoOther(t *testing.T) {
	root := rootOf(t)
	synctest.Test(t, func(t *testing.T) {
		server := make(chan struct{})
		var calls atomic.Int32
		d := &host.Disk{Root: root, Mounts: []string{"/srv/nas", "/", "/boot"}, Patience: 3 * time.Second,
			Statfs: func(path string, st *unix.Statfs_t) error {
				if strings.HasSuffix(path, "/nas") {
					calls.Add(1)
					<-server
				}
				return statfs(strings.TrimSuffix(path, "/nas"), st)
			}}
		for round, wait := range []time.Duration{3 * time.Second, 0, 0} {
			start := time.Now()
			samples, err := try(d)
			if len(samples) != 2 || samples[0].Instance != "/" || samples[1].Instance != "/boot" {
				t.Errorf("round %d: %s", round, show(samples))
			}
			if err == nil || !strings.Contains(err.Error(), "/srv/nas: no answer") {
				t.Errorf("round %d: %v", round, err)
			}
			if got := time.Since(start); got != wait {
				t.Errorf("round %d waited %s, want %s", round, got, wait)
			}
			time.Sleep(10 * time.Second) // of the bubble
		}
		if calls := calls.Load(); calls != 1 {
			t.Errorf("%d calls while the first hung, want 1", calls)
		}
		close(server)
		synctest.Wait()
		if got := len(take(t, d)); got != 3 {
			t.Errorf("after the server came back: %d samples, want 3", got)
		}
		if got := len(take(t, d)); got != 3 || calls.Load() != 2 {
			t.Errorf("then: %d samples, %d calls, want 3 and 2", got, calls.Load())
		}
	})
}

func TestAFailingMountHidesNoOther(t *testing.T) {
	samples, err := try(&host.Disk{Root: rootOf(t), Mounts: []string{"/srv/nas", "/"}, Statfs: statfs})
	if len(samples) != 1 || err == nil || !strings.Contains(err.Error(), "statfs /srv/nas: stale") {
		t.Errorf("%v: %s", err, show(samples))
	}
}

// Without a list of mounts, as in a chroot, statfs itself must tell whether the file system takes writes.
func TestReadOnlyWithoutMountinfo(t *testing.T) {
	for _, info := range []string{"", "1 0 179:2 / /elsewhere rw - ext4 /dev/root rw\n"} {
		root := rootOf(t)
		write(t, root, "proc/self/mountinfo", info)
		samples := take(t, &host.Disk{Root: root, Statfs: statfs})
		if v, _ := samples[0].Field("read_only"); len(samples) != 1 {
			t.Error(show(samples))
		} else if yes, ok := v.Bool(); !yes || !ok {
			t.Error(show(samples))
		}
	}
}

func TestPathsGivenToStatfsLieBelowTheRoot(t *testing.T) {
	root := rootOf(t)
	asked := make(chan string, 2)
	take(t, &host.Disk{Root: root, Mounts: []string{"/", "/boot"}, Statfs: func(path string, st *unix.Statfs_t) error {
		asked <- path
		return statfs(path, st)
	}})
	a, b := <-asked, <-asked
	if len(a) > len(b) {
		a, b = b, a
	}
	if a != root || b != filepath.Join(root, "boot") {
		t.Errorf("asked %s and %s of root %s", a, b, root)
	}
}

func TestCollectLeavesNoGoroutineBehind(t *testing.T) {
	d := &host.Disk{Root: rootOf(t), Mounts: []string{"/", "/boot"}, Statfs: statfs}
	synctest.Test(t, func(t *testing.T) { // fails when one is left
		for range 100 {
			take(t, d)
		}
	})
}
