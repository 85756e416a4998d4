//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"holdfast/update/bsdiff"
)

type bench struct {
	dir    string
	repeat int
	peers  bool

	figures int
	missed  []string
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// A result is a line of the table.
type result struct {
	tool           string
	patch          int64
	generate       cost
	apply          cost
	applied, known bool
}

// run measures one pair and prints its table and its targets.
func (b *bench) run(p pair) error {
	fmt.Printf("\n%s: %s -> %s bytes\n", p.name, thousands(size(p.old)), thousands(size(p.neu)))
	fmt.Printf("  %-22s %12s %14s %12s %12s %12s %12s\n", "tool", "patch", "generate CPU s", "peak MB", "apply CPU s", "wall s", "peak MB")
	ours, err := b.ours(p)
	if err != nil {
		return err
	}
	ours.print()
	var others []result
	if b.peers {
		for _, peer := range []func(pair) (result, error){b.bsdiff, b.xdelta, b.zstd, b.zchunk} {
			r, err := peer(p)
			if err != nil {
				fmt.Printf("  %-22s %v\n", r.tool, err)
				continue
			}
			r.print()
			others = append(others, r)
		}
	}
	b.sizes(p, ours, others)
	if err := b.costs(p, ours, others); err != nil {
		return err
	}
	return b.segments(p, ours)
}

func (b *bench) ours(p pair) (result, error) {
	r := result{tool: "holdfast", applied: true, known: true}
	var err error
	if r.generate, err = own("child-create", p.old, p.neu, b.path("patch"), strconv.Itoa(bsdiff.SpanBytes)); err != nil {
		return r, err
	}
	r.patch = size(b.path("patch"))
	r.apply, err = median(b.repeat, func() (cost, error) { return own("child-apply", p.old, b.path("patch"), b.path("new")) })
	if err != nil {
		return r, err
	}
	_, err = measure("cmp", p.neu, b.path("new"))
	return r, err
}

func (b *bench) bsdiff(p pair) (result, error) {
	r := result{tool: "bsdiff"}
	if err := installed("bsdiff"); err != nil {
		return r, err
	}
	var err error
	if r.generate, err = measure("bsdiff", p.old, p.neu, b.path("bsdiff")); err != nil {
		return r, err
	}
	r.patch, r.applied, r.known = size(b.path("bsdiff")), true, true
	r.apply, err = median(b.repeat, func() (cost, error) { return measure("bspatch", p.old, b.path("out"), b.path("bsdiff")) })
	return r, err
}

func (b *bench) xdelta(p pair) (result, error) {
	r := result{tool: "xdelta3 -9 -S lzma"}
	if err := installed("xdelta3"); err != nil {
		return r, err
	}
	var err error
	if r.generate, err = measure("xdelta3", "-9", "-S", "lzma", "-f", "-e", "-s", p.old, p.neu, b.path("xdelta")); err != nil {
		return r, err
	}
	r.patch, r.applied = size(b.path("xdelta")), true
	r.apply, err = median(b.repeat, func() (cost, error) {
		return measure("xdelta3", "-f", "-d", "-s", p.old, b.path("xdelta"), b.path("out"))
	})
	return r, err
}

func (b *bench) zstd(p pair) (result, error) {
	r := result{tool: "zstd -19 --patch-from"}
	if err := installed("zstd"); err != nil {
		return r, err
	}
	var err error
	if r.generate, err = measure("zstd", "-q", "-19", "--long=31", "--patch-from="+p.old, p.neu, "-f", "-o", b.path("zst")); err != nil {
		return r, err
	}
	r.patch, r.applied = size(b.path("zst")), true
	r.apply, err = median(b.repeat, func() (cost, error) {
		return measure("zstd", "-q", "-d", "--long=31", "--patch-from="+p.old, b.path("zst"), "-f", "-o", b.path("out"))
	})
	return r, err
}

// zchunk has no patch: its figure is what a client with the old file fetches of the new one.
func (b *bench) zchunk(p pair) (result, error) {
	r := result{tool: "zchunk"}
	if err := installed("zck"); err != nil {
		return r, err
	}
	if _, err := measure("zck", "-o", b.path("old.zck"), p.old); err != nil {
		return r, err
	}
	var err error
	if r.generate, err = measure("zck", "-o", b.path("new.zck"), p.neu); err != nil {
		return r, err
	}
	c, err := measure("zck_delta_size", b.path("old.zck"), b.path("new.zck"))
	if err != nil {
		return r, err
	}
	m := regexp.MustCompile(`download (\d+) of`).FindStringSubmatch(c.out)
	if m == nil {
		return r, fmt.Errorf("zck_delta_size said %q", strings.TrimSpace(c.out))
	}
	r.patch, err = strconv.ParseInt(m[1], 10, 64)
	return r, err
}

func (r result) print() {
	apply := fmt.Sprintf("%12s %12s %12s", "-", "-", "-")
	if r.applied {
		apply = fmt.Sprintf("%12.3f %12.3f %12.1f", r.apply.cpu.Seconds(), r.apply.wall.Seconds(), float64(r.apply.rss)/1e6)
	}
	fmt.Printf("  %-22s %12s %14.1f %12.1f %s\n", r.tool, thousands(r.patch), r.generate.cpu.Seconds(), float64(r.generate.rss)/1e6, apply)
}

// judge prints a figure beside its target and remembers it when it is missed.
func (b *bench) judge(p pair, what string, ok bool, format string, args ...any) {
	b.figures++
	mark := "reached"
	line := fmt.Sprintf("%s: %s", what, fmt.Sprintf(format, args...))
	if !ok {
		mark = "MISSED"
		b.missed = append(b.missed, p.name+", "+line)
	}
	fmt.Printf("  %-8s %s\n", mark, line)
}

// sizes holds the patch against the others': a library may be 5 % above bsdiff, a compressed file system as large as the
// best, all else is smaller than every one.
func (b *bench) sizes(p pair, ours result, others []result) {
	best := result{}
	for _, r := range others {
		if best.tool == "" || r.patch < best.patch {
			best = r
		}
	}
	switch {
	case len(others) == 0:
	case size(p.neu) < 16<<20:
		for _, r := range others {
			if r.tool == "bsdiff" {
				b.judge(p, "patch size", ours.patch*100 <= r.patch*105, "%.3f x bsdiff, at most 1.05", ratio(ours.patch, r.patch))
			}
		}
	case strings.Contains(p.name, "sqfs"):
		b.judge(p, "patch size", ours.patch <= best.patch, "%.3f x the best, %s, at most 1", ratio(ours.patch, best.patch), best.tool)
	default:
		b.judge(p, "patch size", ours.patch < best.patch, "%.3f x the best, %s, below 1", ratio(ours.patch, best.patch), best.tool)
	}
}

func (b *bench) costs(p pair, ours result, others []result) error {
	idle, err := median(b.repeat, func() (cost, error) { return own("child-idle") })
	if err != nil {
		return err
	}
	added := float64(ours.apply.rss-idle.rss) / (1 << 20)
	b.judge(p, "apply memory", added <= 8, "%.1f MiB above an idle process of %.1f, at most 8", added, float64(idle.rss)/(1<<20))
	copied, err := median(b.repeat, func() (cost, error) { return own("child-copy", p.neu, b.path("out")) })
	if err != nil {
		return err
	}
	x := ours.apply.wall.Seconds() / copied.wall.Seconds()
	b.judge(p, "apply wall", x <= 1.5, "%.3f s, %.2f x a copy with fsync (%.3f s), at most 1.5", ours.apply.wall.Seconds(), x, copied.wall.Seconds())
	for _, r := range others {
		if r.tool != "bsdiff" {
			continue
		}
		x := ours.apply.cpu.Seconds() / r.apply.cpu.Seconds()
		b.judge(p, "apply CPU", x <= 0.6, "%.3f s, %.2f x bspatch (%.3f s), at most 0.6", ours.apply.cpu.Seconds(), x, r.apply.cpu.Seconds())
		g := ours.generate.cpu.Seconds() / r.generate.cpu.Seconds()
		if strings.HasPrefix(p.name, "kernel") {
			b.judge(p, "generate CPU", g <= 1./3, "%.1f s, %.2f x bsdiff (%.1f s), at most 0.33", ours.generate.cpu.Seconds(), g, r.generate.cpu.Seconds())
		}
	}
	if strings.Contains(p.name, "ext4") && size(p.neu) <= 256<<20 {
		b.judge(p, "generate CPU", ours.generate.cpu <= 90*time.Second, "%.1f s, at most 90", ours.generate.cpu.Seconds())
		b.judge(p, "generate memory", ours.generate.rss <= 1<<30, "%.0f MiB, at most 1,024", float64(ours.generate.rss)/(1<<20))
	}
	return nil
}

// segments measures what restart points cost, and a repair.
func (b *bench) segments(p pair, ours result) error {
	if size(p.neu) > bsdiff.SpanBytes && size(p.neu) <= 64<<20 {
		if _, err := own("child-create", p.old, p.neu, b.path("whole"), strconv.Itoa(64<<20)); err != nil {
			return err
		}
		whole := size(b.path("whole"))
		b.judge(p, "segments", float64(ours.patch) <= 1.01*float64(whole), "%+.2f %% against one segment (%s), at most 1 %%",
			100*(ratio(ours.patch, whole)-1), thousands(whole))
	}
	if _, err := own("child-create", "", p.neu, b.path("full"), strconv.Itoa(bsdiff.SpanBytes)); err != nil {
		return err
	}
	c, err := own("child-repair", p.old, b.path("patch"), b.path("full"), b.path("new"))
	if err != nil {
		b.judge(p, "repair", false, "%v", err)
		return nil
	}
	var patch, full, repaired, segments int64
	if _, err := fmt.Sscan(c.out, &patch, &full, &repaired, &segments); err != nil {
		return err
	}
	_, err = measure("cmp", p.neu, b.path("new"))
	b.judge(p, "repair", err == nil && patch <= ours.patch, "64 changed blocks: %s bytes of the patch and %d of %d segments of the full image, %s of %s bytes",
		thousands(patch), repaired, segments, thousands(full), thousands(size(b.path("full"))))
	return nil
}

func ratio(a, b int64) float64 { return float64(a) / float64(b) }

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
