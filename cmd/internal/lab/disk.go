//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// MiB is what partitions and file systems are counted in.
const MiB = 1 << 20

// A Partition is one of a disk.
type Partition struct {
	Name string // what PARTLABEL= finds it by
	MiB  int
	From string // the image that is put there, of at most its size; empty: none, it reads as zeros
	Boot bool   // where U-Boot's distro_bootcmd looks for a script
}

// WriteDisk makes a disk with a GPT and returns where each partition begins, in bytes. Images are copied without their
// holes, so the file is as small as they are.
func WriteDisk(ctx context.Context, path string, parts []Partition) (map[string]int64, error) {
	at := map[string]int64{}
	table := "label: gpt\n"
	end := 1 // the table and its end take a MiB each
	for _, p := range parts {
		at[p.Name] = int64(end) * MiB
		attrs := ""
		if p.Boot {
			attrs = ", attrs=LegacyBIOSBootable"
		}
		table += fmt.Sprintf("start=%dMiB, size=%dMiB, name=%s%s\n", end, p.MiB, p.Name, attrs)
		end += p.MiB
	}
	if err := blank(path, int64(end+1)*MiB); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	cmd := exec.CommandContext(ctx, sbin("sfdisk"), "-q", path)
	cmd.Stdin = strings.NewReader(table)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("disk: sfdisk: %w: %s", err, bytes.TrimSpace(out))
	}
	for _, p := range parts {
		if p.From == "" {
			continue
		}
		if err := copyInto(path, at[p.Name], int64(p.MiB)*MiB, p.From); err != nil {
			return nil, fmt.Errorf("disk: partition %s: %w", p.Name, err)
		}
	}
	return at, nil
}

// blank makes a file of zeros that takes no room.
func blank(path string, size int64) error {
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

func copyInto(path string, at, room int64, from string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	if info, err := src.Stat(); err != nil || info.Size() > room {
		return errors.Join(err, fmt.Errorf("%s is larger than %d bytes", from, room))
	}
	dst, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	piece := make([]byte, MiB)
	zero := make([]byte, MiB)
	for {
		n, err := io.ReadFull(src, piece)
		if !bytes.Equal(piece[:n], zero[:n]) {
			if _, err := dst.WriteAt(piece[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// FAT makes a FAT file system with files in its root directory: their names there, and where they are from.
func FAT(ctx context.Context, path string, mib int, files map[string]string) error {
	if err := blank(path, int64(mib)*MiB); err != nil {
		return fmt.Errorf("fat: %w", err)
	}
	if err := quiet(ctx, sbin("mkfs.vfat"), "-n", "BOOT", path); err != nil {
		return err
	}
	for name, from := range files {
		if err := quiet(ctx, "mcopy", "-i", path, from, "::"+name); err != nil {
			return err
		}
	}
	return nil
}

// Ext4 makes an ext4 file system of a directory, with its owners and modes; an empty directory's name makes an empty one.
// U-Boot reads it, so it has no checksums in its metadata and no orphan file. The same directory makes the same bytes
// where SOURCE_DATE_EPOCH and the id are the same: deltas between two of them are then what differs between the trees.
func Ext4(ctx context.Context, path string, mib int, dir, label, id string) error {
	if err := blank(path, int64(mib)*MiB); err != nil {
		return fmt.Errorf("ext4: %w", err)
	}
	args := []string{"-q", "-F", "-t", "ext4", "-b", "4096", "-i", "16384", "-m", "1", "-L", label, "-U", id,
		"-O", "^metadata_csum,^64bit", "-E", "lazy_itable_init=0,lazy_journal_init=0,hash_seed=" + id}
	if dir != "" {
		args = append(args, "-d", dir)
	}
	return quiet(ctx, sbin("mke2fs"), append(args, path)...)
}

// Initramfs packs a directory as the kernel's newc archive. It is not compressed: a guest without hardware to help
// unpacks slower than it reads.
func Initramfs(ctx context.Context, path, dir string) error {
	var names []string
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		rel, relErr := filepath.Rel(dir, name)
		names = append(names, rel)
		return errors.Join(err, relErr)
	})
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	slices.Sort(names)
	out, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	cmd := exec.CommandContext(ctx, "cpio", "-o", "-0", "-H", "newc", "--quiet", "--reproducible", "-R", "0:0", "-O", out)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(strings.Join(names, "\x00"))
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initramfs: cpio: %w: %s", err, bytes.TrimSpace(said))
	}
	return nil
}

// quiet runs a program whose words matter only when it fails.
func quiet(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, bytes.TrimSpace(out[max(0, len(out)-1000):]))
	}
	return nil
}

// sbin finds a program that users do not have in their path.
func sbin(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return "/usr/sbin/" + name
}
