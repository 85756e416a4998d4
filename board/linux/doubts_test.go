package linux_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each bootloader tells of what an update will need before there is one.
func TestDoubtsAreToldBeforeTheyMatter(t *testing.T) {
	root := os.Geteuid() == 0 // may write where it may not
	for _, tt := range []struct {
		name   string
		l      loader
		change func(s *shelf)
		want   string // one doubt; "" is none
	}{
		{"grub", grub(t), func(*shelf) {}, ""},
		{"grub, copy gone", grub(t), func(s *shelf) { os.Remove(s.dir + "/medium/grubenv.copy") }, "grubenv.copy: no such file"},
		{"grub, copy damaged", grub(t), func(s *shelf) { s.put("grubenv.copy", "") }, "not an environment block"},
		{"tryboot", tryboot(), func(*shelf) {}, ""},
		{"tryboot, no systemd", tryboot(), func(s *shelf) { os.RemoveAll(s.dir + "/run") }, "argument of the next restart: no such file"},
		{"tryboot, old EEPROM", tryboot(), func(s *shelf) {
			write(s.t, s.dir, "sys/firmware/devicetree/base/chosen/bootloader/capabilities", number(0x3b))
		}, "too old"},
		{"tryboot, EEPROM", tryboot(), func(s *shelf) {
			write(s.t, s.dir, "sys/firmware/devicetree/base/chosen/bootloader/capabilities", number(0x7f))
		}, ""},
		{"systemd-boot", sdboot(), func(s *shelf) { s.put("loader/loader.conf", "timeout 3\ndefault\tholdfast-*\n") }, ""},
		{"systemd-boot, another default", sdboot(), func(s *shelf) { s.put("loader/loader.conf", "default debian-*\n") }, "default holdfast-*"},
		{"systemd-boot, no template", sdboot(), func(s *shelf) {
			s.put("loader/loader.conf", "default holdfast-*\n")
			os.Remove(s.dir + "/medium/loader/holdfast/b.conf")
		}, "b.conf: no such file"},
		{"read-only", tryboot(), func(s *shelf) {
			if os.Chmod(filepath.Join(s.dir, "medium/autoboot.txt"), 0o400); root {
				os.Remove(s.dir + "/medium/autoboot.txt")
			}
		}, "autoboot.txt"},
	} {
		s, m := running(t, tt.l)
		tt.change(s)
		doubts := m.Boot.(interface{ Doubts() []string }).Doubts()
		if text := strings.Join(doubts, "|"); (len(doubts) == 0) != (tt.want == "") || len(doubts) > 1 || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %q, want one with %q", tt.name, text, tt.want)
		}
	}
}
