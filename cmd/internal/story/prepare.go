//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/internal/lab"
)

// guest is what goes into the board, and the scripts that make it.
//
//go:embed guest
var guest embed.FS

var tools = []lab.Tool{
	{File: "qemu-system-aarch64", Package: "qemu-system-arm"},
	{File: lab.UBoot, Package: "u-boot-qemu"},
	{File: "mkimage", Package: "u-boot-tools"},
	{File: "mmdebstrap", Package: "mmdebstrap"},
	{File: "arch-test", Package: "arch-test"},
	{File: "qemu-aarch64-static", Package: "qemu-user-static"},
	{File: "aarch64-linux-gnu-gcc", Package: "gcc-aarch64-linux-gnu"},
	{File: "make", Package: "make"},
	{File: "xz", Package: "xz-utils"},
	{File: "cpio", Package: "cpio"},
	{File: "depmod", Package: "kmod"},
	{File: "sfdisk", Package: "fdisk"},
	{File: "mkfs.vfat", Package: "dosfstools"},
	{File: "mcopy", Package: "mtools"},
	{File: "mke2fs", Package: "e2fsprogs"},
	{File: "nbdkit", Package: "nbdkit"},
	{File: "mosquitto", Package: "mosquitto"},
	{File: "mosquitto_sub", Package: "mosquitto-clients"},
	{File: "ip", Package: "iproute2"},
	{File: "nft", Package: "nftables"},
}

// prepare makes the tree of the board's slots in dir. What it is made of is kept in the cache.
func prepare(ctx context.Context, o options, dir string) error {
	files := filepath.Join(dir, "guest")
	if err := os.CopyFS(dir, guest); err != nil { // all of it lies below guest
		return err
	}
	root, err := cached(ctx, o, files, "root")
	if err != nil {
		return err
	}
	kernel, err := cached(ctx, o, files, "kernel", filepath.Join(root, "debs"))
	if err != nil {
		return err
	}
	start := time.Now()
	if err := script(ctx, dir, filepath.Join(files, "tree.sh"), root, kernel, o.deb, files, filepath.Join(dir, "tree")); err != nil {
		return err
	}
	fmt.Printf("the board's system is made: %.0f s\n", time.Since(start).Seconds())
	return nil
}

// cached returns the directory that a script makes of its arguments, which is made once: its name is of what the script
// says and of what it is given.
func cached(ctx context.Context, o options, files, name string, args ...string) (string, error) {
	path := filepath.Join(files, name+".sh")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(text, strings.Join(args, "\x00")...))
	out := filepath.Join(o.cache, name+"-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return "", err
	}
	fresh, err := os.MkdirTemp(o.cache, name+".")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	fmt.Printf("making %s, once; it may take minutes\n", out)
	if err := script(ctx, filepath.Dir(files), slices.Concat([]string{path}, args, []string{fresh})...); err != nil {
		return "", fmt.Errorf("%w: %w", lab.ErrNotHere, err)
	}
	return out, os.Rename(fresh, out)
}

// script runs one whose words go to a log.
func script(ctx context.Context, dir string, args ...string) error {
	f, err := os.Create(filepath.Join(dir, filepath.Base(args[0])+".log"))
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.CommandContext(ctx, "bash", args...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(f.Name())
		return fmt.Errorf("%s: %w: %s", filepath.Base(args[0]), err, said[max(0, len(said)-800):])
	}
	return nil
}
