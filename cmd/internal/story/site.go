//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"holdfast/cmd/internal/lab"
)

const (
	here    = "10.77.0.1" // where broker, repository and time are
	id      = "board-1"
	tapName = "board"
)

// A site is the board and what stands around it.
type site struct {
	dir, bin string
	at       map[string]int64 // where the disk's partitions begin
	m        *lab.Machine
	sh       *lab.Shell
	heard    *ear
	t        *table
	store    *exec.Cmd // the server of the disk, where there is one
	peakKiB  int       // the most that Holdfast's processes took together in updates
	slot     string    // what was up last
	running  string
	up       int // the console's line at which the board was last switched on or reset
	rtc      string
	made     []chan error // of releases, by number - 1
	marks    int          // of mark
	undo     []func()
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) later(f func()) { s.undo = append(s.undo, f) }

func (s *site) close() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
}

// do runs a program of this machine that says nothing of interest.
func (s *site) do(ctx context.Context, name string, args ...string) error {
	_, err := s.say(ctx, name, args...)
	return err
}

// say runs a program and returns its words.
func (s *site) say(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Env = s.environ()
	out, err := cmd.CombinedOutput()
	text := string(bytes.TrimSpace(out))
	if err != nil {
		return text, fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, text[max(0, len(text)-800):])
	}
	return text, nil
}

// environ tells holdfastctl its broker and its keys.
func (s *site) environ() []string {
	return append(os.Environ(), "HOLDFAST_PASSPHRASE_FILE="+s.path("passphrase"), "HOLDFAST_BROKER=mqtts://"+here+":8883",
		"HOLDFAST_CA="+s.path("pki/ca.crt"), "HOLDFAST_CERT="+s.path("pki/operators/ann.crt"), "HOLDFAST_KEY="+s.path("pki/operators/ann.key"))
}

// ctl is the operator.
func (s *site) ctl(ctx context.Context, args ...string) (string, error) {
	return s.say(ctx, filepath.Join(s.bin, "holdfastctl"), args...)
}

// keep starts a program that stays until the site is closed.
func (s *site) keep(log, name string, args ...string) error {
	f, err := os.Create(s.path(log + ".log"))
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.later(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return nil
}

// network makes the link to the board. Its name and addresses are in a network of this process alone.
func (s *site) network(ctx context.Context) error {
	for _, args := range []string{"link set lo up", "tuntap add " + tapName + " mode tap", "addr add " + here + "/24 dev " + tapName, "link set " + tapName + " up"} {
		if err := s.do(ctx, "ip", strings.Fields(args)...); err != nil {
			return fmt.Errorf("%w: %w", lab.ErrNotHere, err)
		}
	}
	return nil
}

const mosquittoConf = `listener 8883
cafile pki/ca.crt
certfile pki/servers/` + here + `.crt
keyfile pki/servers/` + here + `.key
require_certificate true
use_identity_as_username true
acl_file acl
user root
max_queued_messages 10000
`

const mosquittoACL = `user ann
topic readwrite #

pattern write holdfast/%u/status
pattern write holdfast/%u/telemetry
pattern readwrite holdfast/%u/event
pattern write holdfast/%u/shadow/reported
pattern write holdfast/%u/command/result
pattern write holdfast/%u/job/status
pattern read holdfast/%u/shadow/desired
pattern read holdfast/%u/command
pattern read holdfast/%u/job
`

// around starts broker, subscriber, repository and time, and puts the board's certificate into the tree.
func (s *site) around(ctx context.Context) error {
	for name, text := range map[string]string{"mosquitto.conf": mosquittoConf, "acl": mosquittoACL, "passphrase": "nothing depends on it\n"} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, args := range []string{"pki init", "pki issue --server " + here, "pki issue --device " + id, "pki issue --operator ann",
		"release init repo --work 10 --keys keys"} {
		if _, err := s.ctl(ctx, strings.Fields(args)...); err != nil {
			return err
		}
	}
	for from, to := range map[string]string{"pki/ca.crt": "ca.crt", "pki/devices/" + id + ".crt": "device.crt",
		"pki/devices/" + id + ".key": "device.key", "repo/metadata/1.root.json": "root.json", "guest/holdfast.toml": "holdfast.toml"} {
		// Group holdfast of the tree, as the package's script has made it.
		if err := s.do(ctx, "install", "-m", "640", "--", s.path(from), s.path("tree/etc/holdfast/"+to)); err != nil {
			return err
		}
		if err := s.do(ctx, "chroot", s.path("tree"), "/bin/chgrp", "holdfast", "/etc/holdfast/"+to); err != nil {
			return err
		}
	}
	mosquitto := "mosquitto"
	if _, err := exec.LookPath(mosquitto); err != nil {
		mosquitto = "/usr/sbin/mosquitto"
	}
	if err := s.keep("mosquitto", mosquitto, "-c", "mosquitto.conf"); err != nil {
		return err
	}
	if err := s.keep("repository", filepath.Join(s.bin, "holdfastctl"), "update", "serve", "repo", "--listen", here+":8080"); err != nil {
		return err
	}
	if err := s.time(ctx); err != nil {
		return err
	}
	return s.listen(ctx)
}

// time answers the board's questions for it: SNTP, RFC 4330, of stratum 1.
func (s *site) time(ctx context.Context) error {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", here+":123")
	if err != nil {
		return err
	}
	s.later(func() { conn.Close() })
	go func() {
		var b [512]byte
		for {
			n, from, err := conn.ReadFrom(b[:])
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil || n < 48 {
				continue
			}
			now := time.Now()
			stamp := uint64(now.Unix()+2208988800)<<32 | uint64(now.Nanosecond())<<32/1e9
			answer := make([]byte, 48)
			answer[0], answer[1], answer[2], answer[3] = 4<<3|4, 1, b[2], 0xec // version 4, a server; stratum; poll; 2^-20 s
			copy(answer[12:], "LOCL")
			copy(answer[24:32], b[40:48]) // when it asked
			for _, at := range []int{16, 32, 40} {
				binary.BigEndian.PutUint64(answer[at:], stamp)
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
	return nil
}
