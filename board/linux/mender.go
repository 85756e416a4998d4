package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"holdfast/board"
	"holdfast/board/strict"
)

// menderFiles are Mender's configuration and its fallback: a key of the first counts before one of the second (Mender's
// documentation, "Configuration file").
var menderFiles = []string{"etc/mender/mender.conf", "var/lib/mender/mender.conf"}

// fromMender reads where Mender has its two root file systems. It knows no other parts.
func (l Layout) fromMender() (*Found, error) {
	var f Found
	var a, b string
	for _, name := range menderFiles {
		text, err := readSmall(l.under(name), menderBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("mender.conf: %w", err)
		}
		inA, inB, err := parseMender(text)
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", name, err)
		}
		if f.Source == "" && (inA != "" || inB != "") {
			f.Source = "/" + name
		}
		if a == "" {
			a = inA
		}
		if b == "" {
			b = inB
		}
	}
	if a == "" && b == "" {
		return nil, nil // a Mender that moves no root file systems
	}
	f.Parts = map[string]map[board.SlotID]string{"root": {board.SlotA: a, board.SlotB: b}}
	f.Partitions = [2]int{partitionNumber(a), partitionNumber(b)}
	if err := (Layout{Parts: f.Parts}).Check(); err != nil {
		return nil, fmt.Errorf("%s: RootfsPartA %q and RootfsPartB %q: %w", f.Source, a, b, err)
	}
	return &f, nil
}

// menderBytes bounds a mender.conf: it may hold a list of servers, and a server's certificate by name only.
const menderBytes = 64 << 10

func parseMender(text string) (a, b string, err error) {
	var c struct {
		A string `json:"RootfsPartA"`
		B string `json:"RootfsPartB"`
	}
	if err := strict.Unmarshal([]byte(text), &c, strict.Limits{Bytes: menderBytes, AllowUnknown: true}); err != nil {
		return "", "", err
	}
	for _, place := range []string{c.A, c.B} {
		if place != "" && (!strings.HasPrefix(place, "/") || len(place) > 256) {
			return "", "", fmt.Errorf("root file system %.80q: no path of a device", place)
		}
	}
	return c.A, c.B, nil
}

// partitionNumber is the number at the end of a partition's device, which is how Mender's boot script calls it: 2 for
// /dev/mmcblk0p2 and /dev/sda2. 0 where there is none, as in /dev/disk/by-partlabel/root.
func partitionNumber(device string) int {
	digits := device[len(strings.TrimRight(device, "0123456789")):]
	n, err := strconv.Atoi(digits)
	if err != nil || n > 128 || strings.HasPrefix(device, "/dev/disk/") {
		return 0
	}
	return n
}
