package linux_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/board"
	"holdfast/board/linux"
)

func number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

func TestWhatIsArmedIsTheArgumentOfTheNextRestart(t *testing.T) {
	s, m := running(t, tryboot())
	parameter := filepath.Join(s.dir, "run/reboot-param")
	before := s.medium()
	if err := m.Boot.Arm("b"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(parameter); string(text) != "0 tryboot\n" || err != nil {
		t.Errorf("armed: systemd will pass on %q, %v", text, err)
	}
	equal(t, "autoboot.txt, armed", []byte(s.medium()["autoboot.txt"]), []byte(before["autoboot.txt"]))
	if err := m.Boot.Disarm(); err != nil || exists(parameter) {
		t.Errorf("disarmed: %v", err)
	}
	write(t, s.dir, "run/reboot-param", "firmware\n")
	for name, deed := range map[string]func() error{"arm": func() error { return m.Boot.Arm("b") }, "disarm": m.Boot.Disarm, "commit": m.Boot.Commit} {
		if err := deed(); err == nil || !strings.Contains(err.Error(), "not ours") {
			t.Errorf("%s with somebody else's argument: %v", name, err)
		}
	}
	if text, err := os.ReadFile(parameter); string(text) != "firmware\n" || err != nil {
		t.Errorf("somebody else's argument became %q, %v", text, err)
	}
}

func TestACommitOverwritesAutobootWhereItLies(t *testing.T) {
	s, m := running(t, tryboot())
	name := filepath.Join(s.dir, "medium/autoboot.txt")
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, mv := range []func() error{func() error { return m.Boot.Arm("b") }, m.Restart, m.Boot.Commit} {
		if err := mv(); err != nil {
			t.Fatal(err)
		}
	}
	after, err := os.Stat(name)
	if err != nil || !os.SameFile(before, after) || after.Size() != before.Size() {
		t.Errorf("autoboot.txt is another file, or has another size: %v", err)
	}
	want := "# slots\n[all]\ntryboot_a_b=1\nboot_partition=3\n[tryboot]\nboot_partition=2\n"
	equal(t, "autoboot.txt", []byte(s.medium()["autoboot.txt"]), []byte(want))
}

func TestTheFirmwareAndTheKernelMustSayTheSame(t *testing.T) {
	s, m := running(t, tryboot())
	for told, bad := range map[string]bool{number(2): false, number(3): true, number(0): true} {
		write(t, s.dir, "sys/firmware/devicetree/base/chosen/bootloader/partition", told)
		if f, err := m.Boot.Facts(); (err != nil) != bad {
			t.Errorf("partition % x: %+v, %v", told, f, err)
		}
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "sys/firmware/devicetree/base")); err != nil {
		t.Fatal(err)
	}
	if f, err := m.Boot.Facts(); err != nil || f.Booted != "a" {
		t.Errorf("a firmware that does not tell: %+v, %v", f, err)
	}
}

func TestTheFirmwareTellsThatTheSupplyWasGone(t *testing.T) {
	s, m := running(t, tryboot())
	for _, tt := range []struct {
		property, value string
		want            board.Reset
	}{
		{"rsts", number(0x1000), board.ResetPower}, {"rsts", number(0x1001), board.ResetPower}, {"rsts", number(0x20), ""},
		{"rsts", number(0x1020), ""}, {"rsts", "x", ""}, {"pm_rsts", number(0x1000), board.ResetPower}, {"pm_rsts", number(0x21), ""},
	} {
		write(t, s.dir, "sys/firmware/devicetree/base/chosen/bootloader/"+tt.property, tt.value)
		if f, err := m.Boot.Facts(); err != nil || f.Reset != tt.want {
			t.Errorf("%s % x: %q, %v, want %q", tt.property, tt.value, f.Reset, err, tt.want)
		}
		if err := os.Remove(filepath.Join(s.dir, "sys/firmware/devicetree/base/chosen/bootloader", tt.property)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPartitionsThatCannotBe(t *testing.T) {
	for _, p := range [][2]int{{2, 2}, {9, 10}, {-1, 2}} {
		if _, err := linux.NewTryboot(linux.TrybootOptions{Layout: layoutOf("/"), Partitions: p}); err == nil {
			t.Errorf("%v: no error", p)
		}
	}
}
