//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"holdfast/update/bsdiff"
)

// enlarge writes a pair of images of at least so many bytes: the pairs, one behind the other, over and over, every time
// with all bytes but those of empty blocks turned by another mask. No round is a copy of one before, and what the two
// states of a pair have in common they have in common in every round.
func enlarge(pairs []pair, bytes int64, oldPath, newPath string) error {
	old, err := os.Create(oldPath)
	if err != nil {
		return err
	}
	defer old.Close()
	neu, err := os.Create(newPath)
	if err != nil {
		return err
	}
	defer neu.Close()
	written := int64(0)
	for round := 0; written < bytes; round++ {
		if round > 255 {
			return errors.New("the pairs are too small to make a large image of")
		}
		for _, p := range pairs {
			if err := turn(old, p.old, byte(round)); err != nil {
				return err
			}
			if err := turn(neu, p.neu, byte(round)); err != nil {
				return err
			}
			written += size(p.neu)
		}
	}
	return errors.Join(old.Close(), neu.Close())
}

// turn appends a file with its bytes turned, up to the next whole block.
func turn(to io.Writer, path string, mask byte) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	block := make([]byte, bsdiff.BlockBytes)
	buf := make([]byte, 0, 256*bsdiff.BlockBytes)
	for {
		clear(block)
		n, err := io.ReadFull(in, block)
		if n > 0 {
			if any := orOf(block); any != 0 {
				for i := range block[:n] {
					block[i] ^= mask
				}
			}
			buf = append(buf, block...)
		}
		if err != nil || len(buf) == cap(buf) {
			if _, err := to.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return err
		}
	}
}

func orOf(b []byte) (or byte) {
	for _, c := range b {
		or |= c
	}
	return or
}

// scale measures a pair of the greatest size that is promised: what is held must not grow with it.
func (b *bench) scale(pairs []pair, bytes int64) error {
	p := pair{"scale", b.path("large.old"), b.path("large.new")}
	if err := enlarge(pairs, bytes, p.old, p.neu); err != nil {
		return err
	}
	fmt.Printf("\n%d pairs, made %s -> %s bytes\n", len(pairs), thousands(size(p.old)), thousands(size(p.neu)))
	fmt.Printf("  %-22s %12s %14s %12s %12s %12s %12s\n", "tool", "patch", "generate CPU s", "peak MB", "apply CPU s", "wall s", "peak MB")
	b.repeat = 1
	ours, err := b.ours(p)
	if err != nil {
		return err
	}
	ours.print()
	idle, err := own("child-idle")
	if err != nil {
		return err
	}
	b.judge(p, "generate memory", ours.generate.rss <= 4<<30, "%.0f MiB, at most 4,096", float64(ours.generate.rss)/(1<<20))
	added := float64(ours.apply.rss-idle.rss) / (1 << 20)
	b.judge(p, "apply memory", added <= 8, "%.1f MiB above an idle process, at most 8", added)
	return nil
}
