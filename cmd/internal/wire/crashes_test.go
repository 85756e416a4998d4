package wire_test

import (
	"path/filepath"
	"strings"
	"testing"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

func TestTheWardenReadsWhatTheKernelLeft(t *testing.T) {
	c := config.Default()
	c.Root, c.StateDir, c.RunDir = t.TempDir(), filepath.Join(t.TempDir(), "state"), t.TempDir()
	if all, err := wire.Crashes(t.Context(), c); err != nil || len(all) != 0 {
		t.Errorf("nothing: %v, %v", all, err)
	}
	// four of the longest answers, in which every character takes two
	for _, name := range []string{"0", "1", "2", "3"} {
		put(t, c.Root, "var/lib/systemd/pstore/dmesg-ramoops-"+name, "Panic#"+name+" Part1\n"+strings.Repeat("\"\\\"\\\n", 4000))
	}
	all, err := wire.Crashes(t.Context(), c)
	if err != nil || len(all) != 4 || all[0].Reason != "Panic" || len(all[0].Tail) < 8000 {
		t.Errorf("crashes: %d, %v", len(all), err)
	}
	put(t, c.Root, "sys/fs/pstore", "no directory")
	if all, err := wire.Crashes(t.Context(), c); err == nil || len(all) != 4 {
		t.Errorf("half of it cannot be read: %d, %v", len(all), err)
	}
}
