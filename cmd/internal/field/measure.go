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
	"holdfast/update/bsdiff"
	"holdfast/update/updatetest"
)

// measure updates a device whose image is large, and prints what that took beside a plain copy of the same image.
func (r *rig) measure(size int64) error {
	fmt.Printf("making two images of %d bytes, and a delta between them\n", size)
	one := image(1, size)
	two := slices.Clone(one)
	for at := int64(0); at < size-100_000; at += 5_000_000 {
		copy(two[at:], image(uint64(at)+2, 60_000))
	}
	r.release["pump/1"], r.release["pump/2"] = one, two
	r.repo = updatetest.New(time.Now().Add(-time.Hour), 7)
	m := r.repo.Add(updatetest.Release{Name: "pump/2", Parts: map[string][]byte{"root": two}, Old: map[string][]byte{"root": one}, Span: bsdiff.SpanBytes,
		Custom: map[string]any{"seq": 2}})
	r.repo.Publish(time.Now())
	room := (size + 1<<20) &^ (1<<20 - 1)
	if err := r.slots(room, one); err != nil {
		return err
	}
	plain, back, err := r.plain(two)
	if err != nil {
		return err
	}
	if err := r.environment(); err != nil {
		return err
	}
	if err := r.around("settle = \"1s\"\ndeadline = \"2m\"\nback_off = \"1s\""); err != nil {
		return err
	}
	if err := r.boot(); err != nil {
		return err
	}
	if err := r.up(); err != nil {
		return err
	}
	defer r.down()
	if err := r.sleep(3 * time.Second); err != nil { // until it has settled
		return err
	}
	idle := rss(r.run.Process.Pid) + rss(r.warden.Process.Pid)
	r.requests()
	began := time.Now()
	if err := r.push("job-1", "pump/2"); err != nil {
		return err
	}
	peak, run, warden, took := int64(0), int64(0), int64(0), time.Duration(0)
	for !r.wanted() {
		if time.Since(began) > 10*time.Minute || r.run.gone() || r.warden.gone() {
			return fmt.Errorf("the update did not come to its restart\nwarden: %s\nrun: %s", r.words("warden"), r.words("run"))
		}
		if a, b := rss(r.run.Process.Pid), rss(r.warden.Process.Pid); a+b > peak {
			peak, run, warden = a+b, a, b
		}
		if err := r.sleep(5 * time.Millisecond); err != nil {
			return err
		}
	}
	took = time.Since(began)
	delta := m.Parts[0].Deltas[0]
	asked := r.requests()
	if runs, err := r.holds(board.SlotB); err != nil || runs != "pump/2" {
		return fmt.Errorf("slot b holds %q, %v", runs, err)
	}
	cut, extra, err := r.cut(delta.File, delta.Patch)
	if err != nil {
		return err
	}
	limit := 1.5*plain.Seconds() + back.Seconds()
	fmt.Printf("delta of %d bytes in %d segments, %d requests\n", delta.Bytes, len(delta.Patch.Segments), len(asked))
	fmt.Printf("memory at the peak: run %.1f MiB and warden %.1f MiB, %.1f together; before it %.1f\n", mib(run), mib(warden), mib(peak), mib(idle))
	fmt.Printf("from the job to the restart %.2f s; a plain copy with fsync %.2f s, reading back and hashing %.2f s: at most %.2f s\n", took.Seconds(), plain.Seconds(), back.Seconds(), limit)
	fmt.Printf("a cut in the middle: %d bytes fetched again, the largest segment has %d; %d more request(s)\n", cut, largest(delta.Patch), extra)
	var missed []error
	if mib(peak) > 24 {
		missed = append(missed, errors.New("memory is over 24 MiB"))
	}
	if took.Seconds() > limit {
		missed = append(missed, errors.New("time is over 1.5 copies and the read-back"))
	}
	if cut > largest(delta.Patch)+32<<10 || extra > 1 {
		missed = append(missed, errors.New("a cut costs more than a segment and a request"))
	}
	fmt.Printf("field: rss_mib=%.1f (<=24) seconds=%.2f (<=%.2f) cut_bytes=%d (<=%d) cut_requests=%d (<=1)\n", mib(peak), took.Seconds(), limit, cut, largest(delta.Patch), extra)
	return errors.Join(missed...)
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

// cut has the same update done once more, from the start, with both processes killed in the middle, and counts what of the
// delta was fetched twice.
func (r *rig) cut(file string, m *bsdiff.Manifest) (again int64, requests int, err error) {
	r.down()
	if err := os.RemoveAll(r.path("state")); err != nil {
		return 0, 0, err
	}
	if err := r.environment(); err != nil {
		return 0, 0, err
	}
	if err := r.boot(); err != nil {
		return 0, 0, err
	}
	r.slowly(true)
	defer r.slowly(false)
	if err := r.up(); err != nil {
		return 0, 0, err
	}
	before := r.given(file)
	if err := r.push("job-2", "pump/2"); err != nil {
		return 0, 0, err
	}
	if err := r.until(func() bool { return r.given(file)-before > m.PatchBytes()/2 }); err != nil {
		return 0, 0, err
	}
	r.down()
	r.requests()
	if err := r.boot(); err != nil {
		return 0, 0, err
	}
	if err := r.up(); err != nil {
		return 0, 0, err
	}
	if err := r.until(r.wanted); err != nil {
		return 0, 0, err
	}
	return r.given(file) - before - (m.PatchBytes() - m.Segments[0].Offset), len(r.requests()), nil
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
