package power_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/actuators/power"
)

func TestACommandRestartsWhereThereIsNoSystemd(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "asked")
	if err := (power.Command{"/usr/bin/touch", mark}).Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	err := (power.Command{"/bin/sh", "-c", "echo no; exit 3"}).Reboot(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3: no") {
		t.Errorf("a program that refuses: %v", err)
	}
	if err := (power.Command{}).Reboot(t.Context()); err == nil {
		t.Error("no program restarted the machine")
	}
}
