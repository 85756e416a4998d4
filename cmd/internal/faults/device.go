//go:build linux

package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A design of a device: what it has, and what its application does.
type design struct {
	id      string
	limit   limit
	rootMiB int
	dataMiB int
	weather weather
	load    load
	noise   float64 // of its sensor, degrees
}

// A device is a Debian with its own systemd in namespaces of its own, the package as it is shipped, and an application.
type device struct {
	design
	b    *bench
	root string
	g    *group
	v    *view
	one  int // its process 1, as numbered here
	boot *exec.Cmd
}

const holdfastToml = `id = "%[1]s"
clock_vouched = true
[broker]
urls = ["mqtt://%[2]s:1883"]
max_backoff = "3s"
keep_alive = "30s"
[telemetry]
period = "1s"
[disk]
mounts = ["/", "/data"]
[units]
watch = ["sensor-app.service"]
restart = ["sensor-app.service"]
[sensors.soc]
source = "temperature"
stuck_after = 4
[limits]
repairs_per_hour = 1000
repairs_per_day = 1000
[interfaces]
cycle = ["eth0"]
[clean.logs]
paths = ["/data/cache/junk*", "/data/cache/batch"]
[clean.state]
paths = ["/data/cache/state.*"]
`

// modelPath is where the package has its model.
const modelPath = "/usr/share/holdfast/models/starter.hfm"

// armed has everything repaired that there is a playbook for.
const armed = `[diagnosis]
model = "%s"
[repairs]
armed = [%s]
`

//go:embed device
var owned embed.FS

const appService = `[Unit]
Description=Sensor application
StartLimitIntervalSec=0
[Service]
Environment='LOAD=%s'
ExecStart=/bin/sh -c 'exec %s app "$LOAD"'
RuntimeDirectory=sensor-app
Restart=always
RestartSec=1
OOMPolicy=continue
TasksMax=400
[Install]
WantedBy=multi-user.target
`

const networkFile = `[Match]
Name=eth0
[Network]
Address=` + deviceAddr + `/24
Gateway=` + gatewayAddr + `
LinkLocalAddressing=no
IPv6AcceptRA=no
`

// build makes the device's two disks, and fills the first one.
func (d *device) build(ctx context.Context) error {
	d.root = d.b.path("root")
	if err := os.MkdirAll(d.root, 0o755); err != nil {
		return err
	}
	mount := func(name string, mib int, at string) error {
		image := d.b.path(name)
		if err := os.WriteFile(image, nil, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(image, int64(mib)<<20); err != nil {
			return err
		}
		if _, err := d.b.do(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
			return err
		}
		loop, err := d.b.do(ctx, "losetup", "--find", "--show", "--direct-io=on", image)
		if err != nil {
			return err
		}
		// It goes by itself when the last mount of it does, also when this process is killed.
		defer func() { _, _ = d.b.do(context.WithoutCancel(ctx), "losetup", "-d", loop) }()
		d.v.disks = append(d.v.disks, [2]string{filepath.Base(loop), "mmcblk" + strconv.Itoa(len(d.v.disks))})
		_, err = d.b.do(ctx, "mount", loop, at)
		return err
	}
	d.v = &view{cores: d.limit.cores, memory: d.limit.memoryBytes}
	if err := mount("root.img", d.rootMiB, d.root); err != nil {
		return err
	}
	if _, err := d.b.do(ctx, "tar", "-C", d.root, "-xpf", d.b.base); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(d.root, "data"), 0o755); err != nil {
		return err
	}
	if err := mount("data.img", d.dataMiB, filepath.Join(d.root, "data")); err != nil {
		return err
	}
	return d.install(ctx)
}

func (d *device) install(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for from, to := range map[string]string{d.b.deb: "/holdfast.deb", self: appPath} {
		if _, err := d.b.do(ctx, "install", "-m", "755", from, d.root+to); err != nil {
			return err
		}
	}
	if _, err := d.b.do(ctx, "chroot", d.root, "dpkg", "-i", "/holdfast.deb"); err != nil {
		return err
	}
	d.load.Most = int(d.limit.memoryBytes >> 21)
	d.load.Cores, d.load.Sink = d.limit.cores, net.JoinHostPort(brokerAddr, sinkPort)
	l, err := json.Marshal(d.load)
	if err != nil {
		return err
	}
	over := "[Service]\n"
	for name, at := range viewed {
		over += "BindReadOnlyPaths=/run/device/" + name + ":" + at + "\n"
	}
	over += "BindReadOnlyPaths=/run/device/thermal:/sys/class/thermal\n"
	for _, what := range []string{"cpu", "io", "memory"} {
		over += "BindReadOnlyPaths=-" + d.pressure(what) + ":/proc/pressure/" + what + "\n"
	}
	for name, text := range map[string]string{
		"etc/holdfast/holdfast.toml":                         fmt.Sprintf(holdfastToml, d.id, brokerName) + d.b.toml,
		"etc/systemd/system/" + appUnit:                      fmt.Sprintf(appService, l, appPath),
		"etc/systemd/system/holdfast.service.d/view.conf":    over,
		"etc/systemd/network/eth0.network":                   networkFile,
		"etc/resolv.conf":                                    "nameserver " + namesAddr + "\noptions timeout:1 attempts:1\n",
		"etc/systemd/journald.conf.d/small.conf":             "[Journal]\nRuntimeMaxUse=4M\nStorage=volatile\n",
		"etc/systemd/system/holdfast.service.d/no-rest.conf": "[Service]\nRestartSec=1\n",
	} {
		if err := put(filepath.Join(d.root, name), text); err != nil {
			return err
		}
	}
	for _, name := range []string{"cpu_hog.toml", "crash_loop.toml"} {
		b, err := owned.ReadFile("device/" + name)
		if err != nil {
			return err
		}
		if err := put(filepath.Join(d.root, "etc/holdfast/playbooks.d", name), string(b)); err != nil {
			return err
		}
	}
	if d.b.model != "" {
		if _, err := d.b.do(ctx, "install", "-D", "-m", "644", d.b.model, d.root+modelPath); err != nil {
			return err
		}
	}
	if _, err := d.b.do(ctx, "chroot", d.root, "chgrp", "-R", "holdfast", "/etc/holdfast"); err != nil {
		return err
	}
	// The package started nothing in a chroot; what it enabled comes once all is in place.
	for _, args := range [][]string{{"disable", "holdfast.service"}, {"mask", "getty.target", "systemd-udevd.service", "systemd-networkd-wait-online.service", "apt-daily.timer", "apt-daily-upgrade.timer",
		"dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "systemd-tmpfiles-clean.timer"}} {
		if _, err := d.b.do(ctx, "chroot", append([]string{d.root, "systemctl"}, args...)...); err != nil {
			return err
		}
	}
	return os.Remove(d.root + "/holdfast.deb")
}

// pressure is the file of the device's control group in which the kernel says how long its tasks waited.
func (d *device) pressure(what string) string {
	if d.g.v2 {
		return "/sys/fs/cgroup/" + what + ".pressure"
	}
	return "/sys/fs/cgroup/unified/" + what + ".pressure"
}

func put(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o644)
}

// on boots the device, connects it, and starts application and agent.
func (d *device) on(ctx context.Context) error {
	if err := d.g.make(d.limit); err != nil {
		return err
	}
	log, err := os.Create(d.b.path("boot.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	d.boot = exec.Command("packaging/boot.sh", d.root)
	d.boot.Env = append(os.Environ(), "HOLDFAST_BOOT="+d.g.name)
	d.boot.Stdout, d.boot.Stderr = log, log
	d.boot.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.boot.Start(); err != nil {
		return err
	}
	if err := d.b.within(ctx, 90*time.Second, d.up); err != nil {
		said, _ := os.ReadFile(d.b.path("boot.log"))
		return fmt.Errorf("systemd is not up on %s: %w: %s", d.id, err, said[max(0, len(said)-600):])
	}
	if _, err := d.b.do(ctx, "ip", "link", "set", thereName, "netns", strconv.Itoa(d.one)); err != nil {
		return err
	}
	// Of a /sys that cannot be written systemd-networkd knows that nobody announces devices here.
	if _, err := d.run(ctx, "mount", "-o", "remount,ro,bind", "/sys"); err != nil {
		return err
	}
	d.v.g, d.v.proc, d.v.dir = d.g, d.inside("/proc"), d.inside("/run/device")
	d.v.sensor.rnd, d.v.sensor.noise = d.b.rnd("sensor"), d.noise
	if err := d.v.run(d.b.life); err != nil {
		return err
	}
	if d.limit.diskOps > 0 {
		if err := d.slowDisk(); err != nil {
			return err
		}
	}
	// What asks the gateway for an echo needs no power for it, as on any Debian.
	if _, err := d.run(ctx, "sh", "-c", "echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range"); err != nil {
		return err
	}
	for _, args := range [][]string{{"start", "systemd-networkd.service"}, {"enable", "--now", appUnit}, {"start", "holdfast.service"}} {
		if _, err := d.run(ctx, append([]string{"systemctl"}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// up finds process 1 of the device, and asks it.
func (d *device) up() error {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", d.boot.Process.Pid, d.boot.Process.Pid))
	if err != nil {
		return err
	}
	f := strings.Fields(string(children))
	if len(f) == 0 {
		return errors.New("no process yet")
	}
	if d.one, err = strconv.Atoi(f[0]); err != nil {
		return err
	}
	out, _ := exec.Command("nsenter", "-t", f[0], "-a", "systemctl", "is-system-running").Output()
	switch state := strings.TrimSpace(string(out)); state {
	case "running", "degraded":
		return nil
	default:
		return fmt.Errorf("it is %q", state)
	}
}
