package linux_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdfast/board/linux"
)

// A unit with ProcSubset=pid has no /proc/device-tree.
func TestTheDeviceTreeIsFoundWithoutProc(t *testing.T) {
	root := t.TempDir()
	if got := linux.Compatible(root); got != nil {
		t.Errorf("without a tree: %q", got)
	}
	dir := filepath.Join(root, "sys/firmware/devicetree/base")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "compatible"), []byte("acme,pump-2\x00acme,pump\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := linux.Compatible(root); !slices.Equal(got, []string{"acme,pump-2", "acme,pump"}) {
		t.Errorf("%q", got)
	}
}
