package linux_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/board/linux"
)

func TestSupply(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a board without supplies", nil, ""},
		{"mains alone", map[string]string{"ac/type": "Mains", "ac/online": "1"}, ""},
		{"a full battery", map[string]string{"bat/type": "Battery", "bat/capacity": "30"}, ""},
		{"a low battery", map[string]string{"bat/type": "Battery", "bat/capacity": "29"}, "29 %"},
		{"the lower of two", map[string]string{"a/type": "Battery", "a/capacity": "90", "b/type": "Battery", "b/capacity": "7"}, "7 %"},
		{"a low battery and the mains", map[string]string{"bat/type": "Battery", "bat/capacity": "3", "usb/type": "USB", "usb/online": "1"}, ""},
		{"a low battery and the mains off", map[string]string{"bat/type": "Battery", "bat/capacity": "3", "usb/type": "USB", "usb/online": "0"}, "3 %"},
		{"somebody's mouse", map[string]string{"hid/type": "Battery", "hid/scope": "Device", "hid/capacity": "3"}, ""},
		{"a battery that does not know", map[string]string{"bat/type": "Battery", "bat/capacity": "full"}, ""},
	} {
		root := t.TempDir()
		for name, text := range tt.files {
			path := filepath.Join(root, "sys/class/power_supply", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		err := linux.Supply(root, 30)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
