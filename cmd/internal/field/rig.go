//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"holdfast/board"
	"holdfast/board/loaders"
	"holdfast/update/updatetest"
)

// A rig is a device on a bench: what is in it, and what stands around it.
type rig struct {
	ctx    context.Context
	dir    string
	bin    string
	keep   bool
	undo   []func()
	loops  map[board.SlotID]string
	broker string // its port
	site   string // URL of the repository
	repo   *updatetest.Repository

	mu      sync.Mutex
	asked   []string // "payload/… bytes=1234-"
	sent    map[string]int64
	slow    bool // the repository gives 8 MB a second, so that little is on the way
	hub     *process
	run     *process
	warden  *process
	booted  board.SlotID
	starts  int
	release map[string][]byte
}

func newRig(ctx context.Context, bin string, keep bool) (*rig, error) {
	dir, err := os.MkdirTemp("", "holdfast-field-")
	if err != nil {
		return nil, err
	}
	bin, err = filepath.Abs(bin)
	return &rig{ctx: ctx, dir: dir, bin: bin, keep: keep, loops: map[board.SlotID]string{}, release: map[string][]byte{}, sent: map[string]int64{}}, err
}

func (r *rig) later(f func()) { r.undo = append(r.undo, f) }

func (r *rig) close() {
	for i := len(r.undo) - 1; i >= 0; i-- {
		r.undo[i]()
	}
	if r.keep {
		fmt.Println("kept", r.dir)
		return
	}
	os.RemoveAll(r.dir)
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// process is one that was started.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

func (p *process) kill() {
	if p != nil {
		_ = p.Process.Kill()
		<-p.ended
	}
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (r *rig) start(log, name string, args ...string) (*process, error) {
	f, err := os.OpenFile(r.path(log+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(filepath.Join(r.bin, name), args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.ended) }()
	return p, nil
}

func (r *rig) do(name string, args ...string) (string, error) {
	out, err := exec.CommandContext(r.ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return strings.TrimSpace(string(out)), nil
}

// slots makes two loop devices of a size, and puts an image into slot a.
func (r *rig) slots(bytes int64, image []byte) error {
	for _, id := range []board.SlotID{board.SlotA, board.SlotB} {
		file := r.path("slot-" + string(id))
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(file, bytes); err != nil {
			return err
		}
		loop, err := r.do("losetup", "-f", "--show", file)
		if err != nil {
			return err
		}
		r.loops[id] = loop
		r.later(func() { _ = exec.Command("losetup", "-d", loop).Run() })
	}
	dev, err := os.OpenFile(r.loops[board.SlotA], os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	if _, err := dev.Write(image); err != nil {
		return err
	}
	return dev.Sync()
}

const envBytes = 0x4000

// environment makes U-Boot's, with two copies, as a factory leaves it.
func (r *rig) environment() error {
	raw, err := loaders.Encode(loaders.Vars{"BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "0"}, 1, envBytes)
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.path("env"), append(raw, make([]byte, envBytes)...), 0o600); err != nil {
		return err
	}
	text := fmt.Sprintf("%[1]s 0x0 0x%[2]x\n%[1]s 0x%[2]x 0x%[2]x\n", r.path("env"), envBytes)
	return os.WriteFile(r.path("fw_env.config"), []byte(text), 0o600)
}

// boot is the bootloader: RAUC's script on the environment, without fw_setenv. It tells the system which slot it chose.
func (r *rig) boot() error {
	raw, err := os.ReadFile(r.path("env"))
	if err != nil {
		return err
	}
	var vars [2]loaders.Vars
	var flags [2]byte
	for i := range vars {
		vars[i], flags[i], _ = loaders.Decode(raw[i*envBytes:][:envBytes]) // one that cannot be read is not taken
	}
	now := 0
	switch {
	case vars[0] == nil && vars[1] == nil:
		return errors.New("no copy of the environment can be read")
	case vars[0] == nil, vars[1] != nil && loaders.Newer(flags[0], flags[1]) == 1:
		now = 1
	}
	v := vars[now]
	name := ""
	for range 2 {
		for _, n := range strings.Fields(v["BOOT_ORDER"]) {
			if left := v["BOOT_"+n+"_LEFT"]; name == "" && left != "0" && left != "" {
				v["BOOT_"+n+"_LEFT"] = string(left[0] - 1)
				name = n
			}
		}
		if name != "" {
			break
		}
		v["BOOT_A_LEFT"], v["BOOT_B_LEFT"] = "3", "3"
	}
	next, err := loaders.Encode(v, flags[now]+1, envBytes)
	if err != nil {
		return err
	}
	copy(raw[(1-now)*envBytes:], next)
	if err := os.WriteFile(r.path("env"), raw, 0o600); err != nil {
		return err
	}
	r.booted = board.SlotID(strings.ToLower(name))
	r.starts++
	return os.WriteFile(r.path("cmdline"), []byte("console=ttyS0 rauc.slot="+name+" quiet\n"), 0o644)
}

// around starts what stands around the device, and writes its configuration.
func (r *rig) around(more string) error {
	if err := r.serve(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, r.broker, _ = net.SplitHostPort(ln.Addr().String())
	ln.Close()
	if r.hub, err = r.start("hub", "holdfastctl", "hub", "--listen", "127.0.0.1:"+r.broker, "--state", "-"); err != nil {
		return err
	}
	r.later(r.hub.kill)
	if err := r.until(r.listens); err != nil {
		return fmt.Errorf("the hub does not listen: %w", err)
	}
	if err := os.WriteFile(r.path("root.json"), r.repo.Anchor(), 0o600); err != nil {
		return err
	}
	reboot := r.path("reboot")
	if err := os.WriteFile(reboot, []byte("#!/bin/sh\n: >"+r.path("restart")+"\n"), 0o755); err != nil {
		return err
	}
	return r.configure(fmt.Sprintf(`bootloader = "uboot-rauc"
%[4]s
[update.uboot]
config = "%[1]s/fw_env.config"
cmdline = "%[1]s/cmdline"
[update.parts.root]
a = "%[2]s"
b = "%[3]s"
`, r.dir, r.loops[board.SlotA], r.loops[board.SlotB], more))
}

// configure writes the device's configuration. It ends with what is updated.
func (r *rig) configure(update string) error {
	text := fmt.Sprintf(`id = "bench"
state_dir = "%[1]s/state/holdfast"
run_dir = "%[1]s/run"
[broker]
urls = ["mqtt://127.0.0.1:%[2]s"]
[limits]
reboots_per_hour = 1000
reboots_per_day = 1000
[power]
reboot = ["%[1]s/reboot"]
[update]
compatible = ["bench"]
anchor = "%[1]s/root.json"
repository = "%[3]s"
health = "%[1]s/none"
hooks = "%[1]s/none"
%[4]s`, r.dir, r.broker, r.site, update)
	return os.WriteFile(r.path("holdfast.toml"), []byte(text), 0o600)
}

// up starts both processes of the device.
func (r *rig) up() error {
	os.Remove(r.path("restart"))
	var err error
	if r.warden, err = r.start("warden", "holdfast", "warden", "--stay", "--config", r.path("holdfast.toml")); err != nil {
		return err
	}
	r.run, err = r.start("run", "holdfast", "run", "--config", r.path("holdfast.toml"))
	return err
}

// down kills both.
func (r *rig) down() {
	r.run.kill()
	r.warden.kill()
}

// wanted reports whether the device has asked for a restart.
func (r *rig) wanted() bool {
	_, err := os.Stat(r.path("restart"))
	return err == nil
}

func (r *rig) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// push leaves a job for the device.
func (r *rig) listens() bool {
	conn, err := net.Dial("tcp", "127.0.0.1:"+r.broker)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func (r *rig) push(id, release string) error {
	_, err := r.do(filepath.Join(r.bin, "holdfastctl"), "update", "push", "bench", release, "--id", id, "--broker", "mqtt://127.0.0.1:"+r.broker)
	return err
}

// An outcome is an entry of the device's history.
type outcome struct{ Job, Release, Result, Reason, Error string }

// history asks the warden how jobs ended.
func (r *rig) history() (past []outcome, err error) {
	out, err := r.do(filepath.Join(r.bin, "holdfast"), "status", "--history", "--json", "--config", r.path("holdfast.toml"))
	if err == nil {
		err = json.Unmarshal([]byte(out), &past)
	}
	return past, err
}

// holds returns the release that a slot holds, by its bytes.
func (r *rig) holds(id board.SlotID) (string, error) {
	f, err := os.Open(r.loops[id])
	if err != nil {
		return "", err
	}
	defer f.Close()
	for name, image := range r.release {
		have := make([]byte, len(image))
		if _, err := io.ReadFull(io.NewSectionReader(f, 0, int64(len(have))), have); err != nil {
			return "", err
		}
		if bytes.Equal(have, image) {
			return name, nil
		}
	}
	return "", nil
}

// words are the last that a process said.
func (r *rig) words(log string) string {
	b, _ := os.ReadFile(r.path(log + ".log"))
	return string(b[max(0, len(b)-1500):])
}

// until waits for something.
func (r *rig) until(done func() bool) error {
	for end := time.Now().Add(5 * time.Minute); !done(); {
		if time.Now().After(end) {
			return fmt.Errorf("nothing happened for five minutes\nwarden: %s\nrun: %s\nhub: %s", r.words("warden"), r.words("run"), r.words("hub"))
		}
		if err := r.sleep(2 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
