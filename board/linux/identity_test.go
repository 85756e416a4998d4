package linux_test

import (
	"os"
	"path/filepath"
	"testing"

	"holdfast/board/linux"
)

func write(t *testing.T, root, name, content string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestIdentityPrefersTheDeviceTreeAndDropsItsNUL(t *testing.T) {
	root := t.TempDir()
	write(t, root, "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\x00")
	write(t, root, "proc/device-tree/serial-number", "10000000abcdef01\x00")
	write(t, root, "sys/class/dmi/id/product_name", "not this one\n")
	write(t, root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n")
	id := linux.Identity(root)
	if id.Model != "Raspberry Pi 4 Model B Rev 1.4" || id.Serial != "10000000abcdef01" {
		t.Errorf("identity = %+v", id)
	}
	if id.MachineID != "0123456789abcdef0123456789abcdef" {
		t.Errorf("machine id = %q", id.MachineID)
	}
}

func TestIdentityOfABareRootIsEmpty(t *testing.T) {
	id := linux.Identity(t.TempDir())
	id.Arch = ""
	if id.Model+id.Serial+id.MachineID+id.Kernel+id.ID != "" {
		t.Errorf("identity = %+v, want nothing", id)
	}
}

func TestSuggestedIDHasOnlyLettersAnIDMayHave(t *testing.T) {
	for _, tt := range []struct{ name, hostname, machine, want string }{
		{"host name", "pump-7\n", "", "pump-7"},
		{"odd letters", "pump/7 #é\n", "", "pump7"},
		{"no name of its own", "localhost\n", "0123456789abcdef0123456789abcdef\n", "0123456789ab"},
		{"nothing", "", "", ""},
	} {
		root := t.TempDir()
		if tt.hostname != "" {
			write(t, root, "etc/hostname", tt.hostname)
		}
		if tt.machine != "" {
			write(t, root, "etc/machine-id", tt.machine)
		}
		if got := linux.SuggestID(root); got != tt.want {
			t.Errorf("%s: SuggestID = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestAVouchedClockIsTrusted(t *testing.T) {
	if c := (&linux.Clock{Vouched: true}); !c.Trusted() {
		t.Error("vouched clock is not trusted")
	}
}
