package linux_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/board"
	"holdfast/board/linux"
)

// root0 has a mountinfo as a board with its root on something unknown.
const root0 = "22 1 0:2 / / rw - rootfs rootfs rw\n27 1 254:9 / / ro,relatime shared:1 - ext4 /dev/none ro\n"

// paths is a layout with one part.
func paths(a, b string) map[string]map[board.SlotID]string {
	return map[string]map[board.SlotID]string{"root": {"a": a, "b": b}}
}

// nodes returns two block devices, 7:6 and 7:7, that are only looked at and never opened.
func nodes(t *testing.T) (a, b string) {
	t.Helper()
	a, b = "/dev/loop6", "/dev/loop7"
	if os.Geteuid() == 0 {
		dir := t.TempDir()
		a, b = filepath.Join(dir, "loop6"), filepath.Join(dir, "loop7")
		for minor, name := range map[uint32]string{6: a, 7: b} {
			if err := unix.Mknod(name, unix.S_IFBLK|0o600, int(unix.Mkdev(7, minor))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{a, b} {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
			t.Skipf("no block device %s to look at, and only root can make one: %v", name, err)
		}
	}
	return a, b
}

func TestBootedIsToldByTheCommandLineAndTheRoot(t *testing.T) {
	a, b := nodes(t)
	onB := strings.ReplaceAll(root0, "254:9", "7:7")
	for _, tt := range []struct {
		name, cmdline, mounts string
		want                  board.SlotID
		err                   string
	}{
		{"rauc", "quiet rauc.slot=B ro\n", root0, "b", ""},
		{"rauc, the last counts", "rauc.slot=B rauc.slot=A", root0, "a", ""},
		{"another name", "rauc.slot=C", root0, "", `"C"`},
		{"no name", "rauc.slot=", root0, "", `""`},
		{"root", "root=" + a, root0, "a", ""},
		{"root in quotes", `foo="x root=` + a + `" root="` + b + `"`, root0, "b", ""},
		{"root by PARTUUID", "root=PARTUUID=0123ABCD-02 rw", root0, "b", ""},
		{"root by a label with a space", `"root=LABEL=my root"`, root0, "a", ""},
		{"root of no slot", "root=/dev/null", root0, "", "tells"},
		{"verity", "root=/dev/dm-0 systemd.verity_root_data=PARTUUID=0123abcd-02", root0, "b", ""},
		{"mounted at /", "", onB, "b", ""},
		{"for init", "-- rauc.slot=B root=" + b, root0, "", "tells"},
		{"a switched root", "", onB + root0, "", "tells"},
		{"below a verity device", "", strings.ReplaceAll(root0, "254:9", "253:0"), "a", ""},
		{"by its source", "", strings.ReplaceAll(root0, "254:9 / / ro,relatime shared:1 - ext4 /dev/none", "0:31 /sub / rw - btrfs "+b), "b", ""},
		{"all agree", "rauc.slot=B root=" + b, onB, "b", ""},
		{"they differ", "rauc.slot=A", onB, "", "says a"},
		{"they differ too", "root=" + a + " rauc.slot=B", root0, "", "says b"},
		{"odd mounts", "rauc.slot=A", "nonsense\n", "", "nonsense"},
		{"no mounts", "rauc.slot=A", "", "a", ""},
		{"too long", strings.Repeat("x", 70000), root0, "", "longer"},
	} {
		dir := t.TempDir()
		write(t, dir, "proc/cmdline", tt.cmdline)
		write(t, dir, "proc/self/mountinfo", tt.mounts)
		write(t, dir, "sys/dev/block/253:0/slaves/loop6/dev", "7:6\n")
		for tag, to := range map[string]string{"by-partuuid/0123abcd-02": b, `by-label/my\x20root`: a} {
			name := filepath.Join(dir, "dev/disk", tag)
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, name); err != nil {
				t.Fatal(err)
			}
		}
		got, err := linux.Layout{Root: dir, Parts: paths(a, b)}.Booted()
		if got != tt.want || (tt.err != "") != (err != nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: booted %q, %v, want %q, error with %q", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestALayoutHasTwoPlacesForEachPart(t *testing.T) {
	for name, bad := range map[string]linux.Layout{
		"no parts":   {},
		"one place":  {Parts: map[string]map[board.SlotID]string{"root": {"a": "/x"}}},
		"same place": {Parts: paths("/x", "/x")},
		"slot c":     {Parts: map[string]map[board.SlotID]string{"root": {"a": "/x", "b": "/y", "c": "/z"}}},
		"odd part":   {Parts: map[string]map[board.SlotID]string{"../root": {"a": "/x", "b": "/y"}}},
		"one name":   {Parts: paths("/x", "/y"), Names: map[board.SlotID]string{"a": "A"}},
		"same names": {Parts: paths("/x", "/y"), Names: map[board.SlotID]string{"a": "A", "b": "A"}},
	} {
		if bad.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzMounts(f *testing.F) {
	f.Add(root0)
	f.Add("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n")
	if real, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		f.Add(string(real))
	}
	f.Fuzz(func(t *testing.T, text string) {
		mounts, err := linux.ParseMounts(text)
		if err != nil {
			return
		}
		if len(mounts) > strings.Count(text, "\n")+1 {
			t.Fatalf("%d mounts", len(mounts))
		}
		for _, m := range mounts {
			if point, ro := m.Mounted(); ro && !strings.Contains(text, "ro") || len(point) > len(text) {
				t.Fatalf("mount at %q", point)
			}
		}
	})
}

func FuzzCmdline(f *testing.F) {
	f.Add(`console=ttyS0 root="PARTUUID=1 2" rauc.slot=A -- x`)
	f.Fuzz(func(t *testing.T, text string) {
		for key, value := range linux.ParseCmdline(text) {
			if !strings.Contains(text, key) || !strings.Contains(text, value) {
				t.Fatalf("%q: %q=%q", text, key, value)
			}
		}
	})
}
