package linux

import (
	"fmt"
	"path/filepath"
	"strings"

	"holdfast/board"
)

// Facts reads what a machine says of itself beside its identity. What it does not say stays empty.
func Facts(root string) board.Facts {
	f := board.Facts{Compatible: Compatible(root), Revision: revision(root)}
	f.Reset, f.ResetWords = Reset(root)
	l := Layout{Root: root}
	if mounts, err := l.mounts(); err == nil {
		for _, m := range mounts { // the last one is on top
			if m.point == "/" {
				f.Root = "read-write"
				if m.readOnly {
					f.Root = "read-only"
				}
			}
		}
	}
	for _, w := range Watchdogs(root) {
		f.Watchdogs = append(f.Watchdogs, board.WatchdogFacts{Name: w.Name, Identity: w.Identity, Active: w.Active, TimeoutSeconds: w.Timeout,
			NoWayOut: w.NoWayOut})
	}
	return f
}

// revision is the code of a Raspberry Pi's board revision as its documentation has it, in hexadecimal: the firmware puts
// it into the device tree, and older kernels print it in /proc/cpuinfo. Other boards have their revision in the model.
func revision(root string) string {
	if n, ok := cell(root, "system/linux,revision"); ok {
		return fmt.Sprintf("%x", n)
	}
	text, err := readSmall(filepath.Join(root, "proc/cpuinfo"), 256<<10) // some 1 KiB a processor
	if err != nil {
		return ""
	}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		if value = strings.TrimSpace(value); ok && strings.TrimSpace(key) == "Revision" && len(value) <= 16 && strings.Trim(value, "0123456789abcdef") == "" {
			if value = strings.TrimLeft(value, "0"); value != "" {
				return value
			}
		}
	}
	return ""
}
