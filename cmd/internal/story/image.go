//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"holdfast/board/loaders"
	"holdfast/cmd/internal/lab"
)

const (
	slotMiB  = 136
	dataMiB  = 64
	envBytes = 0x4000
	rootID   = "6a1d0c57-3b2e-4f80-9c4d-5e7f8a9b0c1d" // of every root's file system: what differs between two is what differs in the trees
	dataID   = "0f9e8d7c-6b5a-4a39-8271-605f4e3d2c1b"
)

// A release is what a slot can hold: the tree, and what is different in it.
type release struct {
	number int
	name   string
	about  string
	change func(tree string) error // nil: nothing
}

var releases = []release{
	{1, "lab/1", "what the board comes with", nil},
	{2, "lab/2", "works", func(tree string) error { return put(tree, "etc/motd", "The second.\n", 0o644) }},
	{3, "lab/3", "starts, and fails its gate", func(tree string) error {
		return put(tree, "usr/lib/holdfast/health.d/pump", "#!/bin/sh\necho the pump runs dry\nexit 1\n", 0o755)
	}},
	{4, "lab/4", "hangs before its init", func(tree string) error {
		if err := os.Remove(filepath.Join(tree, "usr/sbin/init")); err != nil {
			return err
		}
		return put(tree, "usr/sbin/init", "#!/bin/sh\necho board: hangs >/dev/console\nexec sleep 100000\n", 0o755)
	}},
	{5, "lab/5", "has a kernel that does not load", func(tree string) error {
		f, err := os.OpenFile(filepath.Join(tree, "boot/Image"), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt(make([]byte, 4096), 0)
		return err
	}},
}

func put(tree, name, text string, mode os.FileMode) error {
	path := filepath.Join(tree, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// image makes the file system of a release. Beside what is changed they are the same.
func (s *site) image(ctx context.Context, r release) (string, error) {
	image := s.path(fmt.Sprintf("root-%d.img", r.number))
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	tree := s.path(fmt.Sprintf("tree-%d", r.number))
	if err := s.do(ctx, "cp", "-a", s.path("tree"), tree); err != nil {
		return "", err
	}
	defer os.RemoveAll(tree)
	text := fmt.Sprintf(`{"release":%q,"seq":%d}`, r.name, r.number)
	if err := put(tree, "usr/lib/holdfast/release.json", text+"\n", 0o644); err != nil {
		return "", err
	}
	if r.change != nil {
		if err := r.change(tree); err != nil {
			return "", fmt.Errorf("release %s: %w", r.name, err)
		}
	}
	return image, lab.Ext4(ctx, image, slotMiB, tree, "root", rootID)
}

// disk lays the board's disk out as a factory does: slot a holds the image, slot b nothing.
func (s *site) disk(ctx context.Context, image string) error {
	var copies []byte
	for flag := range byte(2) {
		raw, err := loaders.Encode(loaders.Vars{"BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "0"}, flag, envBytes)
		if err != nil {
			return err
		}
		copies = append(copies, raw...)
	}
	if err := os.WriteFile(s.path("env"), copies, 0o644); err != nil {
		return err
	}
	script, err := guest.ReadFile("guest/boot.cmd")
	if err != nil {
		return err
	}
	if err := lab.BootScript(ctx, s.path("boot.scr"), string(script)); err != nil {
		return err
	}
	if err := lab.FAT(ctx, s.path("boot.fat"), 16, map[string]string{"boot.scr": s.path("boot.scr")}); err != nil {
		return err
	}
	if err := os.MkdirAll(s.path("data"), 0o755); err != nil {
		return err
	}
	if err := os.Rename(s.path("tree.var"), s.path("data/var")); err != nil {
		return err
	}
	if err := lab.Ext4(ctx, s.path("data.img"), dataMiB, s.path("data"), "data", dataID); err != nil {
		return err
	}
	s.at, err = lab.WriteDisk(ctx, s.path("disk"), []lab.Partition{{Name: "boot", MiB: 16, From: s.path("boot.fat"), Boot: true},
		{Name: "env", MiB: 1, From: s.path("env")}, {Name: "slot_a", MiB: slotMiB, From: image},
		{Name: "slot_b", MiB: slotMiB}, {Name: "data", MiB: dataMiB, From: s.path("data.img")}})
	if err != nil {
		return err
	}
	return lab.Flash(s.path("flash"), map[string]string{
		"bootdelay": "-2", "fdt_addr": "0x40000000", "scriptaddr": "0x40200000", "kernel_addr_r": "0x40400000", "ramdisk_addr_r": "0x44000000",
		"bootcmd": "virtio scan; load virtio 0:1 ${scriptaddr} /boot.scr; source ${scriptaddr}; reset"})
}
