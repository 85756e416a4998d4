//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"holdfast/board"
	"holdfast/cmd/internal/lab"
)

// modules are the kernel's that the guest loads, in order.
var modules = []string{"drivers/virtio/virtio_mmio", "drivers/block/virtio_blk", "crypto/crc32c_generic", "lib/crc16", "fs/mbcache", "fs/jbd2/jbd2",
	"fs/ext4/ext4"}

// envBytes is one of two copies of U-Boot's environment: sixteen sectors, so that a write can be torn.
const envBytes = 0x2000

// A guest is what all boards have in common.
type guest struct {
	kernel, initramfs, flash string
}

// initScript is all there is beside the program: it finds the disks by their serials, mounts the slot that runs and the data,
// and does what the board was ordered to do. That the slot can be mounted is part of starting. The data is checked first, as
// systemd does on a board with fsck.repair=yes: Linux 6.1 refuses to mount an ext4 whose journal ends in a commit block that
// was torn between sectors, or whose superblock was, which e2fsck -p leaves to a person. Its exit codes 0 and 1 are a file
// system in order (e2fsck(8)).
const initScript = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sysfs /sys; $b mount -t devtmpfs dev /dev; $b mount -t tmpfs tmp /run
for m in %[1]s; do $b insmod /mod/$m.ko; done
$b mkdir -p /dev/disk /run/lock; $b ln -s /proc/self/fd/0 /dev/stdin
for d in /sys/block/vd*; do read -r s <$d/serial; $b ln -s /dev/${d##*/} /dev/disk/$s; done
slot=%[3]s; $b grep -q rauc.slot=B /proc/cmdline && slot=%[4]s
$b mount -t ext4 -o ro /dev/disk/$slot /slot || { echo storm: slot $slot cannot be mounted; $b reboot -f; }
e2fsck -y /dev/disk/data; [ $? -le 1 ] || echo storm: data is damaged
$b mount -t ext4 /dev/disk/data /data || { echo storm: data cannot be mounted; $b reboot -f; }
$b mount -t ext4 -o ro,noload /dev/disk/repo /repo
read -r order </dev/disk/order
read -r up rest </proc/uptime
echo storm: up $up
export HOLDFAST_MUTANT=%[2]s
holdfast warden --stay --config /etc/holdfast.toml &
holdfast run --config /etc/holdfast.toml &
while :; do
	s=$(holdfast update status --json --config /etc/holdfast.toml 2>/dev/null)
	case $s in *'"phase":"idle"'*|*'"phase":"committed"'*|*'"phase":"rolled_back"'*|*'"phase":"failed"'*|*'"phase":"canceled"'*) break;; "") $b usleep 100000;; *) $b sleep 2;; esac
done
echo storm: idle $s
case $($b cat /slot/release.json) in *"\"$order\""*) echo storm: nothing to do; $b sleep 3600;; esac
holdfast update install /repo --release $order --json --config /etc/holdfast.toml
echo storm: install ended with $?
$b sleep 3600
`

// configuration is the smallest that updates a system and is judged by the gate.
const configuration = `id = "storm"
state_dir = "/data/holdfast"
run_dir = "/run/holdfast"
[broker]
urls = ["mqtt://127.0.0.1:1883"]
[limits]
reboots_per_hour = 1000
reboots_per_day = 1000
[power]
reboot = ["/bin/busybox", "reboot", "-f"]
[update]
bootloader = "uboot-rauc"
compatible = ["bench"]
anchor = "/etc/root.json"
release = "/slot/release.json"
repository = "/repo"
health = "/none"
hooks = "/none"
settle = "1s"
deadline = "5m"
back_off = "1s"
trials = 10
[update.parts.root]
a = "/dev/disk/slot-a"
b = "/dev/disk/slot-b"
`

// uBoot is the script of the bootloader: RAUC's convention over an environment in two copies with flags, as libubootenv
// keeps them. The U-Boot that Debian has for QEMU keeps one copy in flash, so this reads and writes the two by itself: a
// CRC-32 of what follows the flag, little endian, which the command crc32 stores big endian; then the flag.
func uBoot(device int) string {
	const at, sum = 0x48000000, 0x48020000
	copyAt := func(n int) int { return at + n*0x10000 }
	var s strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&s, format+"; ", args...) }
	swapped := func(command string, n int) (all []string) {
		for i := range 4 {
			all = append(all, fmt.Sprintf(command, sum+i, copyAt(n)+3-i))
		}
		return all
	}
	p("virtio scan; virtio dev %d", device)
	for n := range 2 {
		p("setenv ok%d 0; virtio read %x %x %x", n, copyAt(n), n*envBytes/512, envBytes/512)
		p("if crc32 %x %x %x && %s; then setenv ok%d 1; fi", copyAt(n)+5, envBytes-5, sum, strings.Join(swapped("cmp.b %x %x 1", n), " && "), n)
		p("setexpr.b flag%d *%x", n, copyAt(n)+4)
	}
	p("echo storm: environment ${ok0}${ok1} flags ${flag0} ${flag1}")
	p("setenv now none")
	p("if test ${ok0} = 1; then setenv now 0; fi")
	p("if test ${ok1} = 1; then if test ${ok0} = 0; then setenv now 1; " +
		"elif test ${flag0} = ff && test ${flag1} = 0; then setenv now 1; elif test ${flag0} = 0 && test ${flag1} = ff; then setenv now 0; " +
		"elif test 0x${flag1} -gt 0x${flag0}; then setenv now 1; fi; fi")
	p("if test ${now} = none; then echo storm: environment lost; poweroff; fi")
	for n := range 2 {
		p("if test ${now} = %d; then env import -b %x %x BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT; setenv flag ${flag%d}; fi", n, copyAt(n)+5, envBytes-5, n)
	}
	p("echo storm: order ${BOOT_ORDER}, attempts ${BOOT_A_LEFT} ${BOOT_B_LEFT}")
	p("setenv slot none")
	choose := "for name in ${BOOT_ORDER}; do if test ${slot} = none; then "
	for _, name := range []string{"A", "B"} {
		choose += fmt.Sprintf("if test ${name} = %[1]s && test 0x${BOOT_%[1]s_LEFT} -gt 0; then setexpr BOOT_%[1]s_LEFT ${BOOT_%[1]s_LEFT} - 1; setenv slot %[1]s; fi; ", name)
	}
	choose += "fi; done"
	p("%s", choose)
	p("if test ${slot} = none; then echo storm: attempts anew; setenv BOOT_A_LEFT 3; setenv BOOT_B_LEFT 3; %s; fi", choose)
	// the copy that is not in force is written
	for n := range 2 {
		p("if test ${now} = %d; then env export -b -s %x %x BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT; setexpr flag ${flag} + 1; mw.b %x ${flag}; crc32 %x %x %x; %s; virtio write %x %x %x; fi",
			1-n, envBytes-5, copyAt(n)+5, copyAt(n)+4, copyAt(n)+5, envBytes-5, sum, strings.Join(swapped("cp.b %x %x 1", n), "; "), copyAt(n), n*envBytes/512, envBytes/512)
	}
	p("echo storm: boots ${slot}")
	p("setenv bootargs console=ttyAMA0 quiet loglevel=3 nokaslr panic=1 rauc.slot=${slot}")
	return s.String()
}

// Where QEMU puts the kernel and the initramfs before U-Boot starts.
const kernelAt, initramfsAt = 0x40400000, 0x46000000

// newGuest makes what all boards have in common, below a directory.
func newGuest(ctx context.Context, dir, root, program, mutant string, anchor []byte) (*guest, error) {
	kernels, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if len(kernels) != 1 {
		return nil, fmt.Errorf("%d kernels in %s", len(kernels), root)
	}
	version := strings.TrimPrefix(filepath.Base(kernels[0]), "vmlinuz-")
	g := &guest{kernel: kernels[0], initramfs: filepath.Join(dir, "initramfs"), flash: filepath.Join(dir, "flash")}
	tree := filepath.Join(dir, "tree")
	if err := os.RemoveAll(tree); err != nil {
		return nil, err
	}
	for _, d := range []string{"bin", "usr/bin", "lib", "mod", "etc", "proc", "sys", "dev", "run", "slot", "data", "repo", "var", "tmp"} {
		if err := os.MkdirAll(filepath.Join(tree, d), 0o755); err != nil {
			return nil, err
		}
	}
	files := map[string]string{"bin/busybox": filepath.Join(root, "bin/busybox"), "bin/holdfast": program, "bin/e2fsck": filepath.Join(root, "sbin/e2fsck.static"),
		"usr/bin/fw_printenv": filepath.Join(root, "usr/bin/fw_printenv"), "usr/bin/fw_setenv": filepath.Join(root, "usr/bin/fw_setenv"),
		"lib/ld-linux-aarch64.so.1": filepath.Join(root, "lib/ld-linux-aarch64.so.1")}
	for _, lib := range []string{"libc.so.6", "libz.so.1", "libubootenv.so.0"} {
		found, _ := filepath.Glob(filepath.Join(root, "*lib/aarch64-linux-gnu", lib))
		more, _ := filepath.Glob(filepath.Join(root, "usr/lib/aarch64-linux-gnu", lib))
		if found = append(found, more...); len(found) == 0 {
			return nil, fmt.Errorf("no %s in %s", lib, root)
		}
		files["lib/"+lib] = found[0]
	}
	names := make([]string, len(modules))
	for i, m := range modules {
		names[i] = filepath.Base(m)
		files["mod/"+names[i]+".ko"] = filepath.Join(root, "lib/modules", version, "kernel", m+".ko")
	}
	var err error
	for to, from := range files {
		err = errors.Join(err, copyFile(filepath.Join(tree, to), from))
	}
	text := fmt.Sprintf(initScript, strings.Join(names, " "), mutant, "slot-"+string(board.SlotA), "slot-"+string(board.SlotB))
	err = errors.Join(err, os.WriteFile(filepath.Join(tree, "init"), []byte(text), 0o755), os.WriteFile(filepath.Join(tree, "etc/holdfast.toml"), []byte(configuration), 0o600),
		os.WriteFile(filepath.Join(tree, "etc/root.json"), anchor, 0o600),
		os.WriteFile(filepath.Join(tree, "etc/fw_env.config"), fmt.Appendf(nil, "/dev/disk/env 0x0 %#[1]x\n/dev/disk/env %#[1]x %#[1]x\n", envBytes), 0o644),
		os.Symlink("busybox", filepath.Join(tree, "bin/sh")), os.Symlink("/run/lock", filepath.Join(tree, "var/lock")))
	if err != nil {
		return nil, err
	}
	if err := lab.Initramfs(ctx, g.initramfs, tree); err != nil {
		return nil, err
	}
	info, err := os.Stat(g.initramfs)
	if err != nil {
		return nil, err
	}
	boot := fmt.Sprintf("%sbooti %x %x:%x 40000000", uBoot(envDevice), kernelAt, initramfsAt, info.Size())
	return g, lab.Flash(g.flash, map[string]string{"bootdelay": "-2", "loglevel": "3", "bootcmd": boot})
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}
