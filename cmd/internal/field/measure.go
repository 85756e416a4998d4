//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"holdfast/board"
	"holdfast/update"
	"holdfast/update/bsdiff"
	"holdfast/update/updatetest"
)

// measure updates a device whose image is large, and prints what that took beside a plain copy of the same image. The
// first of three updates is the one after which the device knows what its slot holds; the second is measured; in the
// third both processes are killed in the middle.
func (r *rig) measure(size int64) error {
	fmt.Printf("making four images of %d bytes, and the deltas between them\n", size)
	r.repo = updatetest.New(time.Now().Add(-time.Hour), 7)
	var manifests []*update.Manifest
	for n, old := 1, []byte(nil); n <= 4; n++ {
		name := fmt.Sprintf("pump/%d", n)
		if n == 1 {
			old = image(1, size)
			r.release[name] = old
			continue
		}
		neu := slices.Clone(old)
		for at := int64(0); at < size-400_000; at += 5_000_000 {
			copy(neu[at:], image(uint64(at)+uint64(n), 300_000))
		}
		r.release[name] = neu
		manifests = append(manifests, r.repo.Add(updatetest.Release{Name: name, Parts: map[string][]byte{"root": neu}, Old: map[string][]byte{"root": old},
			Span: bsdiff.SpanBytes, Custom: map[string]any{"seq": n}}))
		old = neu
	}
	r.repo.Publish(time.Now())
	if err := r.slots((size+1<<20)&^(1<<20-1), r.release["pump/1"]); err != nil {
		return err
	}
	plain, back, err := r.plain(r.release["pump/2"])
	if err != nil {
		return err
	}
	if err := r.environment(); err != nil {
		return err
	}
	if err := r.around("settle = \"1s\"\ndeadline = \"2m\"\nback_off = \"1s\""); err != nil {
		return err
	}
	if err := errors.Join(r.boot(), r.up()); err != nil {
		return err
	}
	defer r.down()
	if _, err := r.stage("job-1", "pump/2"); err != nil {
		return err
	}
	if err := r.commit("job-1"); err != nil {
		return err
	}
	idle := rss(r.run.Process.Pid) + rss(r.warden.Process.Pid)
	r.requests()
	s, err := r.stage("job-2", "pump/3")
	if err != nil {
		return err
	}
	asked := r.requests()
	if err := r.commit("job-2"); err != nil {
		return err
	}
	delta := manifests[2].Parts[0].Deltas[0]
	cut, extra, err := r.cut("job-3", "pump/4", delta)
	if err != nil {
		return err
	}
	limit := 1.5*plain.Seconds() + back.Seconds()
	fmt.Printf("delta of %d bytes in %d segments, the largest of %d, %d request(s)\n", delta.Bytes, len(delta.Patch.Segments), largest(delta.Patch), len(asked))
	fmt.Printf("memory at the peak (VmRSS): run %.1f MiB and warden %.1f MiB, %.1f together; before it %.1f\n", mib(s.run), mib(s.warden), mib(s.peak), mib(idle))
	fmt.Printf("from the job to the restart %.2f s; a plain copy with fsync %.2f s, reading back and hashing %.2f s: at most %.2f s\n", s.took.Seconds(), plain.Seconds(), back.Seconds(), limit)
	fmt.Printf("a cut in the middle: %d bytes fetched again, %d more request(s)\n", cut, extra)
	var missed []error
	if mib(s.peak) > 24 {
		missed = append(missed, errors.New("memory is over 24 MiB"))
	}
	if s.took.Seconds() > limit {
		missed = append(missed, errors.New("time is over 1.5 copies and the read-back"))
	}
	if cut > largest(delta.Patch)+inFlight || extra > 1 {
		missed = append(missed, errors.New("a cut costs more than a segment and a request"))
	}
	fmt.Printf("field: rss_mib=%.1f (<=24) seconds=%.2f (<=%.2f) cut_bytes=%d (<=%d) cut_requests=%d (<=1)\n", mib(s.peak), s.took.Seconds(), limit, cut,
		largest(delta.Patch)+inFlight, extra)
	return errors.Join(missed...)
}

// inFlight is what the kernel and the two processes may hold of a download when it is cut: it was given, but did not
// arrive. The server's send buffer is made small, so that it is mostly the device's receive buffer.
const inFlight = 256 << 10

// A staged update is how one went, up to its restart.
type staged struct {
	peak, run, warden int64 // bytes resident, when their sum was greatest
	took              time.Duration
}

// stage has an update done up to its restart.
func (r *rig) stage(job, release string) (s staged, err error) {
	began := time.Now()
	if err := r.push(job, release); err != nil {
		return s, err
	}
	err = r.until(func() bool {
		if a, b := rss(r.run.Process.Pid), rss(r.warden.Process.Pid); a+b > s.peak {
			s.peak, s.run, s.warden = a+b, a, b
		}
		return r.wanted()
	})
	s.took = time.Since(began)
	return s, err
}

// commit restarts the machine into the slot on trial, and waits until it is committed.
func (r *rig) commit(job string) error {
	r.down()
	if err := errors.Join(r.boot(), r.up()); err != nil {
		return err
	}
	return r.until(func() bool {
		past, err := r.history()
		return err == nil && slices.ContainsFunc(past, func(o outcome) bool { return o.Job == job && o.Result == "committed" })
	})
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

func largest(m *bsdiff.Manifest) (most int64) {
	for _, s := range m.Segments {
		most = max(most, s.Length)
	}
	return most
}

// rss is VmRSS of a process in bytes, 0 when it is gone.
func rss(pid int) int64 {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}

// plain copies an image to slot b as dd does, with fsync, and reads it back past the cache, and hashes it.
func (r *rig) plain(image []byte) (write, read time.Duration, err error) {
	dev, err := os.OpenFile(r.loops[board.SlotB], os.O_WRONLY, 0)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	_, err = io.CopyBuffer(struct{ io.Writer }{dev}, struct{ io.Reader }{bytes.NewReader(image)}, make([]byte, 128<<10))
	err = errors.Join(err, dev.Sync(), dev.Close())
	write = time.Since(began)
	if err != nil {
		return 0, 0, err
	}
	if dev, err = os.OpenFile(r.loops[board.SlotB], os.O_RDONLY|syscall.O_DIRECT, 0); err != nil {
		return 0, 0, err
	}
	defer dev.Close()
	buf := aligned(128 << 10)
	began = time.Now()
	hash := sha256.New()
	for left := len(image); left > 0; {
		n, err := dev.Read(buf)
		if err != nil {
			return 0, 0, err
		}
		n = min(n, left)
		hash.Write(buf[:n])
		left -= n
	}
	read = time.Since(began)
	if sum := sha256.Sum256(image); !bytes.Equal(hash.Sum(nil), sum[:]) {
		return 0, 0, errors.New("the plain copy is not the image")
	}
	// the slot is as it came from the factory again
	wipe, err := os.OpenFile(r.loops[board.SlotB], os.O_WRONLY, 0)
	if err != nil {
		return 0, 0, err
	}
	_, err = wipe.Write(make([]byte, len(image)))
	return write, read, errors.Join(err, wipe.Sync(), wipe.Close())
}

func aligned(n int) []byte {
	b := make([]byte, n+4096)
	at := 4096 - int(uintptr(unsafe.Pointer(&b[0]))%4096)
	return b[at : at+n]
}

// cut has an update done with both processes killed in the middle, and counts what of the delta was given twice.
func (r *rig) cut(job, release string, delta update.Payload) (again int64, requests int, err error) {
	r.slowly(true)
	defer r.slowly(false)
	if err := r.push(job, release); err != nil {
		return 0, 0, err
	}
	if err := r.until(func() bool { return r.given(delta.File) > delta.Bytes/2 }); err != nil {
		return 0, 0, err
	}
	r.down()
	r.requests()
	if err := errors.Join(r.boot(), r.up()); err != nil {
		return 0, 0, err
	}
	if err := r.until(r.wanted); err != nil {
		return 0, 0, err
	}
	return r.given(delta.File) - (delta.Patch.PatchBytes() - delta.Patch.Segments[0].Offset), len(r.requests()), nil
}

func (r *rig) until(done func() bool) error {
	for end := time.Now().Add(5 * time.Minute); !done(); {
		if time.Now().After(end) {
			return fmt.Errorf("nothing happened for five minutes\nwarden: %s\nrun: %s", r.words("warden"), r.words("run"))
		}
		if err := r.sleep(2 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
