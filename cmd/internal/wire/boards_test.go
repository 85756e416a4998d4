package wire_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

func put(t *testing.T, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestABoardsProfileProposesAndOnlyOnWish(t *testing.T) {
	for _, tt := range []struct {
		name, tree string
		change     func(*config.Config)
		loader, a  string
		err        string
	}{
		{"not asked for", "linux,dummy-virt", func(c *config.Config) { c.Update.FromBoard = false }, "", "", ""},
		{"asked for", "linux,dummy-virt", nil, "uboot-rauc", "PARTLABEL=slot_a", ""},
		{"the file's bootloader counts", "linux,dummy-virt", func(c *config.Config) { c.Update.Bootloader = "model" }, "model", "PARTLABEL=slot_a", ""},
		{"the file's parts count", "linux,dummy-virt", func(c *config.Config) {
			c.Update.Parts = map[string]config.Part{"root": {A: "/dev/x2", B: "/dev/x3"}}
		}, "uboot-rauc", "/dev/x2", ""},
		{"by name", "", func(c *config.Config) { c.Board = "qemu-virt" }, "uboot-rauc", "PARTLABEL=slot_a", ""},
		{"no profile", "acme,pump", nil, "", "", "no profile matches"},
		{"no bootloader", "raspberrypi,3-model-b", nil, "", "", "proposes no bootloader"},
	} {
		c := config.Default()
		c.Root, c.Update.FromBoard = t.TempDir(), true
		put(t, c.Root, "proc/device-tree/compatible", tt.tree+"\x00")
		if tt.change != nil {
			tt.change(&c)
		}
		got, err := wire.WithBoard(c)
		if (tt.err != "") != (err != nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.err)
		}
		if err == nil && (got.Update.Bootloader != tt.loader || got.Update.Parts["root"].A != tt.a) {
			t.Errorf("%s: %q, %+v", tt.name, got.Update.Bootloader, got.Update.Parts)
		}
	}
}

func TestSlotsThatTheMachineNamesNeedNoConfiguration(t *testing.T) {
	const rauc = "[system]\nbootloader=uboot\n[slot.rootfs.0]\ndevice=/dev/x2\nbootname=system0\n[slot.rootfs.1]\ndevice=/dev/x3\nbootname=system1\n"
	c := config.Default()
	c.Root, c.Update.Bootloader = t.TempDir(), "uboot-rauc"
	if err := wire.Place(&c); err == nil || !strings.Contains(err.Error(), "update.parts") {
		t.Errorf("nothing: %v", err)
	}
	put(t, c.Root, "etc/rauc/system.conf", rauc)
	found := c
	if err := wire.Place(&found); err != nil || found.Update.Parts["root"].B != "/dev/x3" || found.Update.UBoot.B != "system1" {
		t.Errorf("RAUC's: %v, %+v", err, found.Update)
	}
	other := c
	other.Update.Bootloader = "uboot-mender"
	if err := wire.Place(&other); err != nil || other.Update.UBoot.B != "" {
		t.Errorf("names for another bootloader: %v, %+v", err, other.Update.UBoot)
	}
	c.Update.Parts = map[string]config.Part{"root": {A: "/dev/y2", B: "/dev/y3"}}
	if err := wire.Place(&c); err != nil || c.Update.Parts["root"].A != "/dev/y2" || c.Update.UBoot.A != "" {
		t.Errorf("the file's: %v, %+v", err, c.Update)
	}
	mender := config.Default()
	mender.Root, mender.Update.Bootloader = t.TempDir(), "uboot-mender"
	put(t, mender.Root, "etc/mender/mender.conf", `{"RootfsPartA":"/dev/mmcblk0p5","RootfsPartB":"/dev/mmcblk0p6"}`)
	if err := wire.Place(&mender); err != nil || mender.Update.UBoot.A != "5" || mender.Update.UBoot.B != "6" {
		t.Errorf("Mender's: %v, %+v", err, mender.Update)
	}
}

func TestNamesAreTakenFromWhatIsAboutTheSameBootloader(t *testing.T) {
	usual := config.Default().Update.GRUB
	rauc := usual
	rauc.A, rauc.B, rauc.Env, rauc.Copy = "system0", "system1", "/boot/grubenv", "/boot/grubenv.copy"
	mine := usual
	mine.Attempts = 1
	for _, tt := range []struct {
		name, of, with string
		set            config.GRUB
		want           config.GRUB
		a              string
	}{
		{"grub", "grub", "grub", usual, rauc, ""},
		{"grub, and the file says something", "grub", "grub", mine, mine, ""},
		{"U-Boot's for grub", "uboot", "grub", usual, usual, ""},
		{"grub's for U-Boot", "grub", "uboot-rauc", usual, usual, ""},
		{"U-Boot's", "uboot", "uboot-rauc", usual, usual, "system0"},
	} {
		c := config.Default()
		c.Root, c.Update.Bootloader, c.Update.GRUB = t.TempDir(), tt.with, tt.set
		put(t, c.Root, "etc/rauc/system.conf", "[system]\nbootloader="+tt.of+"\ngrubenv=/boot/grubenv\n[slot.rootfs.0]\ndevice=/dev/x2\nbootname=system0\n"+
			"[slot.rootfs.1]\ndevice=/dev/x3\nbootname=system1\n")
		if err := wire.Place(&c); err != nil || c.Update.GRUB != tt.want || c.Update.UBoot.A != tt.a {
			t.Errorf("%s: %v, %+v, %+v", tt.name, err, c.Update.GRUB, c.Update.UBoot)
		}
	}
}

func TestAnUnverifiedNameDrivesNoOutput(t *testing.T) {
	c := config.Default()
	c.Root, c.Board = t.TempDir(), "rock-5b"
	p, err := wire.Profile(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line           string
		output, accept bool
		want, err      string
	}{
		{"PIN3", false, false, "gpio4:11", ""},
		{"PIN3", true, false, "", "accept_unverified_board"},
		{"PIN3", true, true, "gpio4:11", ""},
		{"gpio4:11", true, false, "gpio4:11", ""}, // written by who knows the board
		{"SOME_NAME", true, false, "SOME_NAME", ""},
	} {
		c.AcceptUnverified = tt.accept
		got, err := wire.Spec(c, p, "pump", tt.line, tt.output)
		var e *config.Error
		if got != tt.want || (tt.err != "") != (err != nil) || err != nil && (!errors.As(err, &e) || !strings.Contains(e.Hint, tt.err)) {
			t.Errorf("%+v: %q, %v", tt, got, err)
		}
	}
	if got, err := wire.Spec(c, nil, "pump", "PIN3", true); got != "PIN3" || err != nil {
		t.Errorf("no profile: %q, %v", got, err)
	}
}
