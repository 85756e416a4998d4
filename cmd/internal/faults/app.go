//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

// Where the application is on the device.
const (
	appUnit   = "sensor-app.service"
	appPath   = "/usr/local/bin/sensor-app"
	appSocket = "/run/sensor-app/orders.sock"
	appCache  = "/data/cache"
	appSpoilt = appCache + "/state.spoilt" // an application that finds it cannot run
)

// A load is what the application does when all is well.
type load struct {
	Cores    float64 // what the device may use of processors
	Memory   int     // MiB that it keeps
	Most     int     // MiB that it stops leaking at: what ends it otherwise is the kernel
	Upload   int     // KiB of a burst
	Download int
	Write    int     // KiB of a burst
	Pause    float64 // mean seconds between two bursts
	Seed     uint64
	Sink     string // where it uploads to
}

// An order has the application misbehave until it ends or is told that all is well.
type order struct {
	Fault    string
	Strength float64 // 0 to 1
}

// app is the application: it measures, now and then works hard, uploads, downloads and writes, and obeys.
func app(ctx context.Context, text string) error {
	var l load
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	if _, err := os.Stat(appSpoilt); err == nil {
		time.Sleep(500 * time.Millisecond) // it starts, reads what it kept, and
		return errors.New("the state that was kept cannot be read")
	}
	os.Remove(appSocket)
	ln, err := net.Listen("unix", appSocket)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	if err := os.MkdirAll(appCache, 0o755); err != nil {
		return err
	}
	a := &application{load: l, kept: make([]byte, l.Memory<<20)}
	touch(a.kept)
	go a.live(ctx)
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil
		}
		var o order
		err = json.NewDecoder(bufio.NewReader(io.LimitReader(c, 4096))).Decode(&o)
		if err == nil {
			err = a.obey(ctx, o)
		}
		fmt.Fprintln(c, err)
		c.Close()
		if o.Fault == "crash_loop" {
			return errors.New("the state that was kept cannot be read")
		}
	}
}

type application struct {
	load
	kept []byte
	mu   sync.Mutex
	end  context.CancelFunc // of the misbehaviour
}

// touch has the kernel give the memory.
func touch(b []byte) {
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

// live is the work of an application that is well.
func (a *application) live(ctx context.Context) {
	rnd := rand.New(rand.NewPCG(a.Seed, uint64(os.Getpid())))
	bursts := []func(context.Context, *rand.Rand){a.compute, a.upload, a.download, a.save, a.remember}
	go func() { // readings, 10 a second
		for wait(ctx, 100*time.Millisecond) {
			spin(ctx, time.Millisecond, 1)
		}
	}()
	for wait(ctx, time.Duration(rnd.ExpFloat64()*a.Pause*float64(time.Second))) {
		bursts[rnd.IntN(len(bursts))](ctx, rnd)
	}
}

// wait waits, and reports whether it is worth going on.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// spin takes a share of a core for a time, in slices of 20 ms.
func spin(ctx context.Context, d time.Duration, share float64) {
	for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
		slice := time.Now().Add(min(d, time.Duration(min(share, 1)*2e7)))
		for x := 1.0; time.Now().Before(slice); {
			for range 1000 {
				x = x*1.0000001 + 1e-9
			}
		}
		if share < 1 {
			time.Sleep(time.Duration((1 - share) * 2e7))
		}
	}
}

func (a *application) compute(ctx context.Context, rnd *rand.Rand) {
	spin(ctx, time.Duration(1000+rnd.IntN(3000))*time.Millisecond, a.Cores*(0.5+0.45*rnd.Float64()))
}

// upload and download move bytes over one connection: a letter, the number of KiB, and the bytes.
func (a *application) upload(ctx context.Context, rnd *rand.Rand) {
	a.transfer(ctx, 'u', a.Upload/2+rnd.IntN(a.Upload))
}

func (a *application) download(ctx context.Context, rnd *rand.Rand) {
	a.transfer(ctx, 'd', a.Download/2+rnd.IntN(a.Download))
}

func (a *application) transfer(ctx context.Context, way byte, kib int) {
	ctx, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", a.Sink)
	if err != nil {
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	fmt.Fprintf(c, "%c%d\n", way, kib)
	if way == 'u' {
		piece := make([]byte, 1024)
		for range kib {
			if _, err := c.Write(piece); err != nil {
				return
			}
		}
		return
	}
	_, _ = io.Copy(io.Discard, c)
}

// save writes a file as applications do, and removes it.
func (a *application) save(_ context.Context, rnd *rand.Rand) {
	name := filepath.Join(appCache, "batch")
	f, err := os.Create(name)
	if err != nil {
		return
	}
	piece := make([]byte, 64<<10)
	for range max(1, (a.Write/2+rnd.IntN(a.Write))/64) {
		if _, err := f.Write(piece); err != nil {
			break
		}
	}
	_ = f.Sync() // a disk that is full is the fault that is injected
	f.Close()
	os.Remove(name)
}

// remember takes a little memory for a few seconds.
func (a *application) remember(ctx context.Context, rnd *rand.Rand) {
	b := make([]byte, (1+rnd.IntN(5))<<20)
	touch(b)
	wait(ctx, time.Duration(1+rnd.IntN(4))*time.Second)
	runtime.KeepAlive(b)
	b = nil
	debug.FreeOSMemory() // as a program does that frees by itself
}
