package linux_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"holdfast/board"
	"holdfast/board/linux"
)

const systemConf = `# a board
[system]
compatible=acme-pump
bootloader=uboot
bundle-formats=-plain

[keyring]
path=/etc/rauc/keyring.pem

[slot.rootfs.0]
device=/dev/mmcblk0p2
type=ext4
bootname=A

[slot.rootfs.1]
device=/dev/mmcblk0p3
type=ext4
bootname=B

[slot.appfs.0]
device=/dev/mmcblk0p4
parent=rootfs.0

[slot.appfs.1]
device=/dev/mmcblk0p5
parent=rootfs.1

[slot.rescue.0]
device=/dev/mmcblk0p1
bootname=R
`

func TestRAUCsSlotsAreALayout(t *testing.T) {
	root := t.TempDir()
	write(t, root, "etc/rauc/system.conf", systemConf)
	all, err := linux.Discover(root)
	if err != nil || len(all) != 1 {
		t.Fatalf("found %v, %v", all, err)
	}
	f := all[0]
	if f.Bootloader != "uboot-rauc" || f.Names[board.SlotA] != "A" || f.Names[board.SlotB] != "B" {
		t.Errorf("found %+v", f)
	}
	if got, want := f.String(), "/etc/rauc/system.conf: appfs /dev/mmcblk0p4 and /dev/mmcblk0p5 root /dev/mmcblk0p2 and /dev/mmcblk0p3"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	write(t, root, "etc/rauc/system.conf", strings.Replace(systemConf, "bootloader=uboot", "bootloader=grub\ngrubenv=/boot/grubenv", 1))
	if all, err = linux.Discover(root); err != nil || all[0].Bootloader != "grub" || all[0].GrubEnv != "/boot/grubenv" {
		t.Errorf("GRUB: %+v, %v", all, err)
	}
	write(t, root, "etc/rauc/system.conf", strings.Replace(systemConf, "bootloader=uboot", "bootloader=barebox", 1))
	if all, err = linux.Discover(root); err != nil || all[0].Bootloader != "" {
		t.Errorf("a bootloader that is not known: %+v, %v", all, err)
	}
}

func TestAWrongSystemConfIsRefused(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"one booted slot", "bootname=B", "", "no class"},
		{"two systems", "[slot.appfs.0]", "[slot.appfs.0]\nbootname=C\n[slot.appfs.2]\ndevice=/dev/x\nbootname=D", "which is the system"},
		{"the same name", "bootname=B", "bootname=A", "same bootname"},
		{"no device", "device=/dev/mmcblk0p3", "", "root"},
		{"the same device", "device=/dev/mmcblk0p3", "device=/dev/mmcblk0p2", "root"},
		{"no path", "device=/dev/mmcblk0p3", "device=mmcblk0p3", "line 16"},
		{"a slot twice", "[slot.appfs.1]", "[slot.appfs.0]", "twice"},
		{"half a child", "parent=rootfs.1", "", "appfs"},
		{"no section's end", "[slot.appfs.1]", "[slot.appfs.1", "line 24"},
		{"no index", "[slot.appfs.1]", "[slot.appfs]", "line 24"},
		{"no value", "bundle-formats=-plain", "nonsense", "line 5"},
		{"long", "# a board", "#" + strings.Repeat("x", 70000), "longer"},
		{"many slots", "# a board", strings.Repeat("[slot.x.0]\n", 65), "more than 64"},
	} {
		root := t.TempDir()
		write(t, root, "etc/rauc/system.conf", strings.Replace(systemConf, tt.old, tt.new, 1))
		if all, err := linux.Discover(root); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v, want %q", tt.name, all, err, tt.want)
		}
	}
	// parents in a circle lead nowhere, and end
	circle := strings.Replace(systemConf, "device=/dev/mmcblk0p4\nparent=rootfs.0", "device=/dev/mmcblk0p4\nparent=appfs.1", 1)
	circle = strings.Replace(circle, "parent=rootfs.1", "parent=appfs.0", 1)
	if f, err := linux.ParseRAUC(circle); err != nil || len(f.Parts) != 1 {
		t.Errorf("a circle: %+v, %v", f, err)
	}
}

func TestMendersRootFileSystemsAreALayout(t *testing.T) {
	root := t.TempDir()
	write(t, root, "etc/mender/mender.conf", `{"ServerURL":"https://example.com","RootfsPartA":"/dev/mmcblk0p2"}`)
	write(t, root, "var/lib/mender/mender.conf", `{"RootfsPartA":"/dev/sda9","RootfsPartB":"/dev/mmcblk0p3"}`)
	all, err := linux.Discover(root)
	if err != nil || len(all) != 1 || all[0].Partitions != [2]int{2, 3} ||
		all[0].String() != "/etc/mender/mender.conf: root /dev/mmcblk0p2 and /dev/mmcblk0p3" {
		t.Fatalf("found %v, %v", all, err)
	}
	write(t, root, "etc/mender/mender.conf", `{"RootfsPartA":"/dev/disk/by-partlabel/root2","RootfsPartB":"/dev/disk/by-partlabel/root3"}`)
	if all, err := linux.Discover(root); err != nil || len(all) != 1 || all[0].Partitions != [2]int{} {
		t.Errorf("numbers of labels were taken for those of partitions: %+v, %v", all, err)
	}
	for name, text := range map[string]string{
		"half":          `{"RootfsPartA":"/dev/mmcblk0p2"}`,
		"twice":         `{"RootfsPartA":"/dev/a2","RootfsPartA":"/dev/a3","RootfsPartB":"/dev/a4"}`,
		"another case":  `{"rootfsparta":"/dev/a2","RootfsPartA":"/dev/a3","RootfsPartB":"/dev/a4"}`,
		"no path":       `{"RootfsPartA":"ubi0_0","RootfsPartB":"ubi0_1"}`,
		"one partition": `{"RootfsPartA":"/dev/a2","RootfsPartB":"/dev/a2"}`,
		"no JSON":       `RootfsPartA=/dev/a2`,
	} {
		root := t.TempDir()
		write(t, root, "etc/mender/mender.conf", text)
		if all, err := linux.Discover(root); err == nil {
			t.Errorf("%s: %v", name, all)
		}
	}
	root = t.TempDir()
	write(t, root, "etc/mender/mender.conf", `{"ServerURL":"https://example.com"}`)
	if all, err := linux.Discover(root); err != nil || len(all) != 0 {
		t.Errorf("a Mender without root file systems: %v, %v", all, err)
	}
}

func TestLabelsThatDifferInTheirLastLetterArePaired(t *testing.T) {
	for _, tt := range []struct{ labels, want, err string }{
		{"root-a root-b", "root", ""},
		{"slot_a slot_b data ubootenv", "root", ""},
		{"rootfs_a rootfs_b boot_a boot_b", "boot root", ""},
		{"systemA systemB kernelA kernelB", "kernel root", ""},
		{"root-a", "", ""},
		{"vbmeta_a vbmeta_b", "", ""},
		{"data datb", "", ""},
		{"root-a root-b rootfs-a rootfs-b", "", "both be slot a"},
		{"", "", ""},
	} {
		parts, err := linux.PairLabels(strings.Fields(tt.labels))
		got := strings.Join(slices.Sorted(maps.Keys(parts)), " ")
		if got != tt.want || (tt.err != "") != (err != nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %q, %v, want %q, error with %q", tt.labels, got, err, tt.want, tt.err)
		}
	}
}

func TestWhatIsFoundMustAgree(t *testing.T) {
	if _, err := linux.Choose("", nil); !errors.Is(err, linux.ErrNoLayout) {
		t.Errorf("nothing: %v", err)
	}
	root := t.TempDir()
	write(t, root, "etc/mender/mender.conf", `{"RootfsPartA":"`+root+`/a","RootfsPartB":"`+root+`/b"}`)
	for _, label := range []string{"root-a", "root-b", "boot-a", "boot-b"} {
		write(t, root, "dev/disk/by-partlabel/"+label, "")
	}
	write(t, root, "a", "")
	write(t, root, "b", "")
	all, err := linux.Discover(root)
	if err != nil || len(all) != 2 {
		t.Fatalf("found %v, %v", all, err)
	}
	if _, err := linux.Choose(root, all); err == nil || !strings.Contains(err.Error(), "ambiguous") || !strings.Contains(err.Error(), "PARTLABEL=root-a") {
		t.Errorf("they differ: %v", err)
	}
	if f, err := linux.Choose(root, all[1:]); err != nil || len(f.Parts) != 2 {
		t.Errorf("labels alone: %v, %v", f, err)
	}
	same := linux.Found{Source: "x", Parts: map[string]map[board.SlotID]string{"root": {"a": root + "/dev/disk/by-partlabel/root-a", "b": root + "/dev/disk/by-partlabel/root-b"}}}
	if f, err := linux.Choose(root, []linux.Found{same, all[1]}); err != nil || f.Source != "x" || len(f.Parts) != 1 {
		t.Errorf("other names of the same places: %v, %v", f, err)
	}
}

func FuzzRAUC(f *testing.F) {
	f.Add(systemConf)
	f.Fuzz(func(t *testing.T, text string) {
		found, err := linux.ParseRAUC(text)
		if err != nil {
			return
		}
		if err := (linux.Layout{Parts: found.Parts, Names: found.Names}).Check(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzMender(f *testing.F) {
	f.Add(`{"RootfsPartA":"/dev/mmcblk0p2","RootfsPartB":"/dev/mmcblk0p3","Servers":[{"ServerURL":"https://example.com"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, b, err := linux.ParseMender(text)
		if err == nil && (a != "" && a[0] != '/' || b != "" && b[0] != '/') {
			t.Fatalf("%q and %q", a, b)
		}
	})
}
