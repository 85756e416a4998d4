//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The addresses. What is behind the gateway is on this side of the wire, too; whether it can be reached is the wire's affair.
const (
	deviceAddr  = "10.78.0.2"
	gatewayAddr = "10.78.0.1"
	brokerAddr  = "10.79.0.1"
	namesAddr   = "10.79.0.53"
	brokerName  = "broker.cloud.example"
	sinkPort    = "9000"
)

// A bench is what stands around a device: a wire, a gateway, a cloud with broker and names, and who records.
type bench struct {
	id, model           string // of the device; a file, or empty for the package's
	dir, bin, deb, base string
	seed                uint64
	toml                string // more of the device's configuration
	life                context.Context
	wire                *wire
	names               *names
	undo                []func()
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) later(f func()) { b.undo = append(b.undo, f) }

func (b *bench) close() {
	for i := len(b.undo) - 1; i >= 0; i-- {
		b.undo[i]()
	}
}

// rnd is a source of chance of its own for each device and use.
func (b *bench) rnd(use string) *rand.Rand {
	h := fnv.New64a()
	_, _ = io.WriteString(h, b.id+" "+use)
	return rand.New(rand.NewPCG(b.seed, h.Sum64()))
}

// do runs a program of this machine, and returns what it says.
func (b *bench) do(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "SYSTEMD_OFFLINE=0")
	if name == "chroot" {
		cmd.Env = append(cmd.Env, "SYSTEMD_OFFLINE=1")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return text(out), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out[max(0, len(out)-600):])
	}
	return text(out), nil
}

// keep starts a program that stays until the bench is closed.
func (b *bench) keep(log string, cmd *exec.Cmd) error {
	f, err := os.Create(b.path(log + ".log"))
	if err != nil {
		return err
	}
	defer f.Close()
	if cmd.Stdout == nil {
		cmd.Stdout = f
	}
	cmd.Stderr = f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.later(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return nil
}

// within asks until the answer is no error.
func (b *bench) within(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if !wait(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// set sets up what is around the device.
func (b *bench) set(ctx context.Context, w weather) error {
	var err error
	if b.wire, err = newWire(w, b.seed); err != nil {
		return err
	}
	go b.wire.run()
	b.later(b.wire.close)
	for _, args := range []string{"link set lo up", "addr add " + gatewayAddr + "/24 dev " + hereName, "link set " + hereName + " up",
		"addr add " + brokerAddr + "/32 dev lo", "addr add " + namesAddr + "/32 dev lo"} {
		if _, err := b.do(ctx, "ip", strings.Fields(args)...); err != nil {
			return err
		}
	}
	b.names = &names{address: netip.MustParseAddr(brokerAddr).As4()}
	if err := b.names.serve(b.life, net.JoinHostPort(namesAddr, "53")); err != nil {
		return err
	}
	if err := b.sink(); err != nil {
		return err
	}
	mosquitto := "mosquitto"
	if _, err := exec.LookPath(mosquitto); err != nil {
		mosquitto = "/usr/sbin/mosquitto"
	}
	if err := os.WriteFile(b.path("mosquitto.conf"), []byte("listener 1883\nallow_anonymous true\nuser root\nmax_queued_messages 10000\n"), 0o600); err != nil {
		return err
	}
	if err := b.keep("mosquitto", exec.Command(mosquitto, "-c", b.path("mosquitto.conf"))); err != nil {
		return err
	}
	return b.within(ctx, 20*time.Second, func() error {
		c, err := net.Dial("tcp", net.JoinHostPort(brokerAddr, "1883"))
		if err == nil {
			c.Close()
		}
		return err
	})
}

// sink is where the application uploads to and downloads from.
func (b *bench) sink() error {
	ln, err := net.Listen("tcp", net.JoinHostPort(brokerAddr, sinkPort))
	if err != nil {
		return err
	}
	b.later(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go serve(c)
			}
		}
	}()
	return nil
}

func serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(c)
	var way byte
	var kib int
	if _, err := fmt.Fscanf(r, "%c%d\n", &way, &kib); err != nil {
		return
	}
	if way == 'd' {
		_, _ = c.Write(make([]byte, min(kib, 64<<10)<<10))
		return
	}
	_, _ = io.Copy(io.Discard, r)
}
