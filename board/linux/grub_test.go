package linux_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/board/linux"
	"holdfast/board/loaders"
)

// tool runs a program of GRUB's or of a FAT file system's, and skips the test where it is not here.
func tool(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path = "/usr/sbin/" + name; !exists(path) {
			t.Skipf("%s is not here: install %s", name, pkg)
		}
	}
	cmd := exec.Command(path, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %s%v", name, args, out, err)
	}
	return string(out)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func TestGrubEditenvReadsWhatWeWriteAndWeReadWhatItWrites(t *testing.T) {
	s := newShelf(t, grub(t), nil)
	write(t, s.dir, "proc/cmdline", "rauc.slot=A\n")
	env := filepath.Join(s.dir, "medium/grubenv")
	write(t, s.dir, "medium/none", "")
	tool(t, "grub-common", "grub-editenv", env, "create")
	tool(t, "grub-common", "grub-editenv", env, "set", "saved_entry=0", `odd=a\b`, "ORDER=A B", "A_OK=1", "A_TRY=1", "B_OK=0", "B_TRY=0")
	u, err := linux.NewGRUB(linux.GRUBOptions{Layout: layoutOf(s.dir), Env: env})
	if err != nil {
		t.Fatal(err)
	}
	list := func() string {
		return strings.ReplaceAll(strings.TrimSpace(tool(t, "grub-common", "grub-editenv", env, "list")), "\n", "|")
	}
	for _, tt := range []struct {
		deed func() error
		want string
	}{
		{func() error { return u.Arm("b") }, "ORDER=B A|A_OK=1|A_TRY=0|B_OK=1|B_TRY=2|saved_entry=0|odd=a\\b"},
		{u.Disarm, "ORDER=A B|A_OK=1|A_TRY=0|B_OK=0|B_TRY=0|saved_entry=0|odd=a\\b"},
		{func() error {
			tool(t, "grub-common", "grub-editenv", env, "set", "A_TRY=2")
			return u.Commit()
		}, "ORDER=A B|A_OK=1|A_TRY=0|B_OK=0|B_TRY=0|saved_entry=0|odd=a\\b"},
	} {
		if err := tt.deed(); err != nil {
			t.Fatal(err)
		}
		if got := list(); got != tt.want {
			t.Errorf("grub-editenv lists %s, want %s", got, tt.want)
		}
	}
}

// realGRUB has GRUB itself run packaging/boot/slots.cfg with its environment on a FAT file system, and returns the slot it
// took and the one it would fall back to. It writes the environment as on a board: by blocks, in place.
func realGRUB(t *testing.T, dir string) (slot, other string) {
	t.Helper()
	out := tool(t, "grub-emu", "grub-emu", "-m", filepath.Join(dir, "device.map"), "-d", filepath.Join(dir, "grub"))
	if at := strings.LastIndex(out, "slot="); at >= 0 {
		slot, other, _ = strings.Cut(strings.TrimSpace(out[at+len("slot="):]), " other=")
		return slot, other
	}
	t.Fatalf("grub-emu: %q", out)
	return "", ""
}

// grubDisk makes a disk with slots.cfg on it.
func grubDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = inMemory(t)
	write(t, dir, "disk.img", strings.Repeat("\x00", 512<<10))
	tool(t, "dosfstools", "mkfs.vfat", filepath.Join(dir, "disk.img"))
	write(t, dir, "device.map", "(hd0) "+dir+"/disk.img\n")
	write(t, dir, "grub/grub.cfg", "insmod fat\ninsmod loadenv\ninsmod test\nset prefix=(hd0)\nsource (hd0)/slots.cfg\necho slot=$slot other=$other\nexit\n")
	tool(t, "mtools", "mcopy", "-i", dir+"/disk.img", "../../packaging/boot/slots.cfg", "::")
	return dir
}

func TestTheScriptIsWhatGRUBMakesOfIt(t *testing.T) {
	dir := grubDisk(t)
	zero, err := loaders.DecodeBlock([]byte("# GRUB Environment Block\n" + strings.Repeat("#", 999)))
	if err != nil {
		t.Fatal(err)
	}
	vars := loaders.GRUB{}.Variables()
	starts := 0
	for state := range 2 * 64 { // ORDER, and OK and TRY of both
		if testing.Short() && state%7 != 0 {
			continue
		}
		v := map[string]string{"ORDER": []string{"A B", "B A"}[state&1], "A_OK": fmt.Sprint(state >> 1 & 1), "B_OK": fmt.Sprint(state >> 2 & 1),
			"A_TRY": fmt.Sprint(state >> 3 & 3), "B_TRY": fmt.Sprint(state >> 5 & 3)}
		before := zero.Set(vars, v)
		raw, err := before.Encode(5)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"grubenv", "grubenv.copy"} {
			write(t, dir, name, string(raw))
			tool(t, "mtools", "mcopy", "-o", "-i", dir+"/disk.img", filepath.Join(dir, name), "::")
		}
		got, _ := realGRUB(t, dir)
		want, after, err := loaders.GRUB{}.Start(before)
		if err != nil {
			if got != "A" { // no slot is OK: it starts something
				t.Errorf("%v: GRUB takes %s, want A", v, got)
			}
			continue
		}
		starts++
		wanted, err := after.Encode(5)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%v: GRUB takes %s, want %s", v, got, want)
		}
		for _, name := range []string{"grubenv", "grubenv.copy"} {
			equal(t, fmt.Sprintf("%v: %s", v, name), []byte(tool(t, "mtools", "mtype", "-i", dir+"/disk.img", "::"+name)), wanted)
		}
	}
	if starts < 10 {
		t.Errorf("%d starts compared", starts)
	}
}

func TestGRUBTakesTheCopyWhereTheEnvironmentIsGone(t *testing.T) {
	dir := grubDisk(t)
	files := grubFiles(t)
	good := strings.NewReplacer("ORDER=A B", "ORDER=B A", "B_TRY=0", "B_TRY=2").Replace(files["grubenv"])
	for _, tt := range []struct{ name, first, copied, slot, other string }{
		{"both", good, files["grubenv"], "B", "A"},
		{"torn", strings.Repeat("\xff", 512) + good[512:], good, "B", "A"},
		{"zeros", strings.Repeat("\x00", 1024), good, "B", "A"},
		{"empty", "", good, "B", "A"},
		{"copy torn", good, strings.Repeat("\xff", 1024), "B", "A"},
		{"neither", "", strings.Repeat("\xff", 1024), "A", "B"},
	} {
		for name, text := range map[string]string{"grubenv": tt.first, "grubenv.copy": tt.copied} {
			write(t, dir, name, text)
			tool(t, "mtools", "mcopy", "-o", "-i", dir+"/disk.img", filepath.Join(dir, name), "::")
		}
		if slot, other := realGRUB(t, dir); slot != tt.slot || other != tt.other {
			t.Errorf("%s: GRUB takes %s, or else %s, want %s and %s", tt.name, slot, other, tt.slot, tt.other)
		}
	}
}

func TestGRUBsEnvironmentIsHealedFromItsCopy(t *testing.T) {
	s, m := running(t, grub(t))
	if err := m.Boot.Arm("b"); err != nil {
		t.Fatal(err)
	}
	whole := s.medium()["grubenv"]
	for name, damage := range map[string]string{"zeroed": strings.Repeat("\x00", 1024), "short": whole[:100], "empty": ""} {
		s.put("grubenv", damage)
		if f, err := m.Boot.Facts(); err != nil || f.Next != "b" {
			t.Errorf("%s: facts %+v, %v", name, f, err)
		}
		if err := m.Boot.Arm("b"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := s.medium(); got["grubenv"] != whole || got["grubenv.copy"] != whole {
			t.Errorf("%s: not healed", name)
		}
	}
	s.put("grubenv", "x")
	s.put("grubenv.copy", "x")
	if err := m.Boot.Commit(); err == nil || s.medium()["grubenv"] != "x" {
		t.Errorf("what is gone twice was made up: %v", err)
	}
}
