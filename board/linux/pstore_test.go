package linux_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"holdfast/board/linux"
)

const panicked = "Panic#1 Part1\n<5>[    0.000000] Kernel command line: root=/dev/vda2 key=secret\n<0>[   12.345678] Kernel panic - not syncing: sysrq triggered crash\n" +
	"<4>[   12.345690] CPU: 0 PID: 412 Comm: sh\x1b[31m Not tainted\n"

func TestCrashesAreFoundWhereTheKernelAndSystemdLeaveThem(t *testing.T) {
	root := t.TempDir()
	if all, err := linux.Crashes(root); len(all) != 0 || err != nil {
		t.Fatalf("nothing there: %v, %v", all, err)
	}
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for i, name := range []string{
		"sys/fs/pstore/dmesg-ramoops-0",
		"var/lib/systemd/pstore/dmesg-ramoops-0", // the same, being moved
		"var/lib/systemd/pstore/1700000000/001/dmesg.txt",
		"var/lib/systemd/pstore/1700000000/001/dmesg-efi-170000000001001",
		"sys/fs/pstore/console-ramoops-0",
		"sys/fs/pstore/dmesg-ramoops-1.enc.z",
	} {
		text := panicked
		if i > 1 {
			text = fmt.Sprintf("Oops#2 Part%d\n", i)
		}
		write(t, root, name, text)
		if err := os.Chtimes(filepath.Join(root, name), at, at.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := linux.Crashes(root)
	if err != nil || len(all) != 2 || all[0].Name != "1700000000/001/dmesg.txt" || all[1].Name != "dmesg-ramoops-0" {
		t.Fatalf("found %+v, %v", all, err)
	}
	c := all[1]
	if c.Reason != "Panic" || !strings.Contains(c.Tail, "sysrq triggered crash") || strings.Contains(c.Tail, "secret") || strings.Contains(c.Tail, "\x1b") ||
		!c.Written.Equal(at) || c.Bytes != int64(len(panicked)) || len(c.ID) != 16 {
		t.Errorf("crash %+v", c)
	}
	for i := range 10 {
		write(t, root, fmt.Sprintf("sys/fs/pstore/dmesg-ramoops-%d", i), fmt.Sprint(i))
	}
	if all, err := linux.Crashes(root); err != nil || len(all) != 4 {
		t.Errorf("many: %d, %v", len(all), err)
	}
	root = t.TempDir()
	write(t, root, "sys/fs/pstore/x", "")
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "sys/fs/pstore/dmesg-x")); err != nil {
		t.Fatal(err)
	}
	if all, err := linux.Crashes(root); len(all) != 0 {
		t.Errorf("a link was followed: %+v, %v", all, err)
	}
}

// A dump is whatever was logged, by the kernel or into it.
func TestADumpIsTakenAsItComes(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"letters that grow when folded", strings.Repeat("Ⱥ", 40) + "Command line: key=secret", strings.Repeat("Ⱥ", 40) + "Command line (left out)"},
		{"parameters that nobody knows", "<5>Unknown kernel command line parameters \"key=secret\"\nend", "<5>Unknown kernel command line (left out)\nend"},
		{"one line", strings.Repeat("x", 9<<10), strings.Repeat("x", 8<<10)},
		{"many", strings.Repeat("x", 9<<10) + "\nend", "end"},
		{"bytes that are no text", "a\xff\xfeb", "a?b"},
	} {
		if _, tail := linux.ParseDump(tt.text); tail != tt.want {
			t.Errorf("%s: %.200q, want %.200q", tt.name, tail, tt.want)
		}
	}
}

func FuzzDump(f *testing.F) {
	f.Add(panicked)
	f.Add(strings.Repeat("Ⱥ", 40) + "Command line: key=secret")
	f.Add("Oops#1 Part1\n" + strings.Repeat("x\n", 9000))
	f.Fuzz(func(t *testing.T, text string) {
		reason, tail := linux.ParseDump(text)
		if len(reason) > 16 || len(tail) > 3*8<<10 || !utf8.ValidString(tail) || strings.ContainsAny(tail, "\x00\x1b\r") {
			t.Fatalf("%q, %d bytes", reason, len(tail))
		}
	})
}
