//go:build linux

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"slices"
	"strconv"
)

// BootScript makes what U-Boot sources of a script.
func BootScript(ctx context.Context, path, script string) error {
	text := path + ".cmd"
	if err := os.WriteFile(text, []byte(script), 0o644); err != nil {
		return fmt.Errorf("boot script: %w", err)
	}
	return quiet(ctx, "mkimage", "-q", "-A", "arm64", "-T", "script", "-C", "none", "-d", text, path)
}

// flashBytes is a bank of QEMU's virt machine. U-Boot's own environment fills the first 256 KiB of the second
// (CONFIG_ENV_SIZE of qemu_arm64_defconfig).
const (
	flashBytes    = 64 * MiB
	flashEnvBytes = 0x40000
)

// Flash makes the second bank of flash with an environment of U-Boot's in it, which saves the scan of every bus and the
// wait for a key. It has one copy and so no flag: a CRC-32 of all that follows, then key=value, each ended by a zero.
func Flash(path string, vars map[string]string) error {
	env := make([]byte, 4, flashEnvBytes)
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, k+"="+vars[k]+"\x00"...)
	}
	if len(env) >= flashEnvBytes {
		return errors.New("flash: the environment is too large")
	}
	env = append(env, make([]byte, flashEnvBytes-len(env))...)
	binary.LittleEndian.PutUint32(env, crc32.ChecksumIEEE(env[4:]))
	if err := os.WriteFile(path, env, 0o644); err != nil {
		return fmt.Errorf("flash: %w", err)
	}
	if err := os.Truncate(path, flashBytes); err != nil {
		return fmt.Errorf("flash: %w", err)
	}
	return nil
}

// UBoot is where Debian's u-boot-qemu has the one for QEMU's virt machine.
const UBoot = "/usr/lib/u-boot/qemu_arm64/u-boot.bin"

// Arm64 is a board: QEMU's virt machine with a Cortex-A53.
type Arm64 struct {
	CPUs  int      // 0 means 1
	MiB   int      // memory; 0 means 256
	Disk  string   // a -drive without its if=: "file=disk.img,format=raw"; it is virtio
	Flash string   // made by Flash, read only; empty: U-Boot has its built-in environment
	Tap   string   // the interface of this machine that the board's network card is tied to; empty: no card
	More  []string // further arguments: a watchdog, a clock
}

// Args returns QEMU's arguments. The virtual clock is real time, so a busy host makes a slow board. There is no ACPI:
// with it the machine has no GPIO chip that the device tree names.
func (b Arm64) Args() []string {
	args := []string{"-M", "virt,acpi=off", "-cpu", "cortex-a53", "-accel", "tcg,thread=multi,tb-size=128",
		"-smp", strconv.Itoa(max(1, b.CPUs)), "-bios", UBoot}
	memory := b.MiB
	if memory == 0 {
		memory = 256
	}
	args = append(args, "-m", strconv.Itoa(memory))
	if b.Flash != "" {
		args = append(args, "-drive", "if=pflash,unit=1,format=raw,readonly=on,file="+b.Flash)
	}
	if b.Disk != "" {
		args = append(args, "-drive", "if=none,id=disk,"+b.Disk, "-device", "virtio-blk-pci,drive=disk")
	}
	if b.Tap != "" {
		args = append(args, "-netdev", "tap,id=net,script=no,downscript=no,ifname="+b.Tap, "-device", "virtio-net-pci,netdev=net,romfile=")
	}
	return append(args, b.More...)
}
