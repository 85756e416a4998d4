//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"
)

// obey begins what an order says, in place of what was begun before. "normal" is none.
func (a *application) obey(ctx context.Context, o order) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.end != nil {
		a.end()
	}
	ctx, a.end = context.WithCancel(ctx)
	deed := map[string]func(context.Context, float64){"cpu_hog": a.hog, "mem_leak": a.leak, "disk_full": a.fill, "io_hog": a.grind, "fd_leak": a.open,
		"proc_storm": a.storm}[o.Fault]
	switch {
	case o.Fault == "normal":
		return nil
	case o.Fault == "crash_loop":
		return os.WriteFile(appSpoilt, []byte("half of it"), 0o644)
	case deed == nil:
		return fmt.Errorf("there is no fault %q", o.Fault)
	}
	go deed(ctx, o.Strength)
	return nil
}

// between returns what a strength of 0 to 1 stands for.
func between(strength, weak, strong float64) float64 { return weak + strength*(strong-weak) }

// hog takes 75 to 100 % of what the device has of a processor.
func (a *application) hog(ctx context.Context, strength float64) {
	spin(ctx, time.Hour, between(strength, 0.75, 1.1)*a.Cores)
}

// leak takes 2 to 8 MiB a second and forgets to give it back, up to half of what the device has.
func (a *application) leak(ctx context.Context, strength float64) {
	var lost [][]byte
	for step := between(strength, 2, 8) / 4; float64(len(lost))*step < float64(a.Most) && wait(ctx, 250*time.Millisecond); {
		b := make([]byte, int(step*(1<<20)))
		touch(b)
		lost = append(lost, b)
	}
	<-ctx.Done()
	a.kept[0] = byte(len(lost))
	lost = nil
}

// fill fills the file system to 93 to 99 % with files in its cache, which stay.
func (a *application) fill(ctx context.Context, strength float64) {
	piece := make([]byte, 256<<10)
	f, err := os.Create(filepath.Join(appCache, "junk"))
	if err != nil {
		return
	}
	defer f.Close()
	for full := between(strength, 0.93, 0.99); ctx.Err() == nil; {
		var st syscall.Statfs_t
		if err := syscall.Statfs(appCache, &st); err != nil || float64(st.Bavail) < (1-full)*float64(st.Blocks) {
			return
		}
		if _, err := f.Write(piece); err != nil {
			return
		}
		wait(ctx, 5*time.Millisecond)
	}
}

// grind writes and reads 4 KiB here and there past the cache, by one to four threads, without end.
func (a *application) grind(ctx context.Context, strength float64) {
	const size = 4 << 20
	name := filepath.Join(appCache, "grind")
	if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
		return
	}
	defer os.Remove(name)
	end := make(chan struct{})
	threads := 1 + int(strength*3.99)
	for range threads {
		go func() {
			defer func() { end <- struct{}{} }()
			f, err := os.OpenFile(name, os.O_RDWR|syscall.O_DIRECT|syscall.O_DSYNC, 0)
			if err != nil {
				return
			}
			defer f.Close()
			raw := make([]byte, 8192)
			page := raw[4096-uintptr(unsafe.Pointer(&raw[0]))%4096:][:4096] // O_DIRECT wants it aligned
			for ctx.Err() == nil {
				at := rand.Int64N(size/4096) * 4096
				if _, err := f.WriteAt(page, at); err != nil {
					return
				}
				if _, err := f.ReadAt(page, at); err != nil && !errors.Is(err, io.EOF) {
					return
				}
			}
		}()
	}
	for range threads {
		<-end
	}
}

// open opens 15 to 120 files a second and forgets them, up to 3000.
func (a *application) open(ctx context.Context, strength float64) {
	var files []*os.File
	for pause := time.Duration(float64(time.Second) / between(strength, 15, 120)); len(files) < 3000 && wait(ctx, pause); {
		if f, err := os.Open("/dev/null"); err == nil {
			files = append(files, f)
		}
	}
	<-ctx.Done()
	for _, f := range files {
		f.Close()
	}
}

// storm starts 25 to 60 processes a second, of which each lasts for 5 s.
func (a *application) storm(ctx context.Context, strength float64) {
	for pause := time.Duration(float64(time.Second) / between(strength, 25, 60)); wait(ctx, pause); {
		cmd := exec.CommandContext(ctx, "/bin/sleep", "5")
		if cmd.Start() == nil {
			go func() { _ = cmd.Wait() }()
		}
	}
}
