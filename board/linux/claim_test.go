package linux_test

import (
	"errors"
	"testing"

	"holdfast/board/linux"
)

func TestADirectoryIsClaimedByOneUntilItLetsGo(t *testing.T) {
	dir := t.TempDir()
	first, err := linux.Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := linux.Claim(dir); !errors.Is(err, linux.ErrClaimed) {
		t.Errorf("second claim = %v, want ErrClaimed", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := linux.Claim(dir)
	if err != nil {
		t.Fatalf("claim of what was let go: %v", err)
	}
	again.Close()
}
