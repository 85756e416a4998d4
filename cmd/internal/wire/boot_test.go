package wire_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/board"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// putFile writes a file below dir.
func putFile(t *testing.T, dir, name, text string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEveryBootloaderOfTheConfigurationIsAsked(t *testing.T) {
	env := "# GRUB Environment Block\nORDER=two one\none_OK=1\none_TRY=0\ntwo_OK=1\ntwo_TRY=0\n"
	for _, name := range config.Bootloaders() {
		dir := t.TempDir()
		c := config.Default()
		c.Root = dir
		u := &c.Update
		u.Bootloader = name
		u.Parts = map[string]config.Part{"root": {A: "/none/a", B: "/none/b"}}
		u.GRUB = config.GRUB{Env: dir + "/grubenv", A: "one", B: "two", Attempts: 1}
		u.Tryboot = config.Tryboot{Autoboot: dir + "/autoboot.txt", A: 6, B: 5}
		u.SystemdBoot.ESP = dir
		u.UBoot.Print = dir + "/printenv"
		u.UBoot.Config = dir + "/none"
		putFile(t, dir, "proc/self/mountinfo", "22 1 0:2 / / rw - rootfs rootfs rw\n")
		slot := "A"
		if name == "grub" {
			slot = "one"
		}
		putFile(t, dir, "proc/cmdline", "rauc.slot="+slot)
		putFile(t, dir, "grubenv", env+strings.Repeat("#", 1024-len(env)))
		putFile(t, dir, "autoboot.txt", "[all]\ntryboot_a_b=1\nboot_partition=5\n[tryboot]\nboot_partition=6\n")
		putFile(t, dir, "loader/entries/holdfast-000002-b.conf", "linux /b\n")
		got, err := wire.Bootloader(c)
		switch name {
		case "model":
			if !errors.Is(err, board.ErrUnsupported) {
				t.Errorf("model: %+v, %v", got, err)
			}
		case "uboot-rauc", "uboot-mender": // what they need is not here, and they say so
			if err == nil || !strings.Contains(err.Error(), dir+"/none") {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		default:
			if err != nil || got.Booted != "a" || got.Next != "b" {
				t.Errorf("%s: %+v, %v, want slot a, and b next", name, got, err)
			}
		}
	}
}

func TestGRUBIsAskedWhereRAUCsConfigurationSays(t *testing.T) {
	dir := t.TempDir()
	c := config.Default()
	c.Root, c.Update.Bootloader = dir, "grub"
	putFile(t, dir, "etc/rauc/system.conf", "[system]\ncompatible=x\nbootloader=grub\ngrubenv="+dir+"/env\n"+
		"[slot.rootfs.0]\ndevice=/none/a\nbootname=one\n[slot.rootfs.1]\ndevice=/none/b\nbootname=two\n")
	putFile(t, dir, "proc/self/mountinfo", "22 1 0:2 / / rw - rootfs rootfs rw\n")
	putFile(t, dir, "proc/cmdline", "rauc.slot=two")
	env := "# GRUB Environment Block\nORDER=one two\none_OK=1\none_TRY=0\ntwo_OK=1\ntwo_TRY=0\n"
	putFile(t, dir, "env", env+strings.Repeat("#", 1024-len(env)))
	if got, err := wire.Bootloader(c); err != nil || got.Booted != "b" || got.Next != "a" {
		t.Errorf("%+v, %v, want slot b, and a next", got, err)
	}
}
