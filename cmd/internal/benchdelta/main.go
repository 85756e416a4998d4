//go:build linux

// Command benchdelta measures patches against those of other tools, on pairs of real images:
//
//	benchdelta [-repeat n] [-only NAME] [-peers=false] [-scale bytes] DIR | OLD NEW
//
// DIR holds pairs named X.old and X.new, or X.old.Y and X.new.Y. Every deed runs in a process of its own, whose CPU
// seconds and peak memory the kernel counts; peers that are not installed are named and left out. The last line counts
// the figures; exit code 1 when one is missed.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A pair is two states of one image.
type pair struct{ name, old, neu string }

func main() {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "child-") {
		if err := child(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "benchdelta:", err)
			os.Exit(1)
		}
		return
	}
	repeat := flag.Int("repeat", 5, "times a patch is applied; the median counts")
	only := flag.String("only", "", "of the pairs in DIR, the one of this name")
	peers := flag.Bool("peers", true, "measure the other tools too")
	large := flag.Int64("scale", 0, "measure one image of so many bytes, made of the pairs, instead of each")
	flag.Parse()
	pairs, err := find(flag.Args(), *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchdelta:", err)
		os.Exit(2)
	}
	work, err := os.MkdirTemp("", "benchdelta")
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchdelta:", err)
		os.Exit(1)
	}
	b := &bench{dir: work, repeat: *repeat, peers: *peers}
	if *large > 0 {
		if err := b.scale(pairs, *large); err != nil {
			fmt.Fprintln(os.Stderr, "benchdelta:", err)
			b.missed = append(b.missed, err.Error())
		}
		pairs = nil
	}
	for _, p := range pairs {
		if err := b.run(p); err != nil {
			fmt.Fprintf(os.Stderr, "benchdelta: %s: %v\n", p.name, err)
			b.missed = append(b.missed, p.name+": "+err.Error())
		}
	}
	os.RemoveAll(work)
	for _, m := range b.missed {
		fmt.Println("MISSED", m)
	}
	fmt.Printf("benchdelta: %d figures, %d missed\n", b.figures, len(b.missed))
	if len(b.missed) > 0 {
		os.Exit(1)
	}
}

// find lists the pairs of a directory, smallest first, or makes one of two files.
func find(args []string, only string) ([]pair, error) {
	if len(args) == 2 {
		return []pair{{filepath.Base(args[1]), args[0], args[1]}}, nil
	}
	if len(args) != 1 {
		return nil, fmt.Errorf("usage: benchdelta [-repeat n] [-only NAME] [-peers=false] [-scale bytes] DIR | OLD NEW")
	}
	names, err := filepath.Glob(filepath.Join(args[0], "*.old*"))
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for _, old := range names {
		dir, base := filepath.Split(old)
		neu := filepath.Join(dir, strings.Replace(base, ".old", ".new", 1))
		name := strings.Replace(base, ".old", "", 1)
		if _, err := os.Stat(neu); err == nil && (only == "" || only == name) {
			pairs = append(pairs, pair{name, old, neu})
		}
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("no pairs in %s", args[0])
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return int(size(a.neu) - size(b.neu)) })
	return pairs, nil
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}
