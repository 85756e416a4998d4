//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"

	"holdfast/update/bsdiff"
)

// child does one deed in a process of its own.
func child(deed string, args []string) error {
	ctx := context.Background()
	switch deed {
	case "child-idle":
		return nil
	case "child-create":
		span, err := strconv.ParseInt(args[3], 10, 64)
		if err != nil {
			return err
		}
		return childCreate(ctx, args[0], args[1], args[2], span)
	case "child-apply":
		return childApply(ctx, args[0], args[1], args[2])
	case "child-copy":
		return childCopy(args[0], args[1])
	case "child-repair":
		return childRepair(ctx, args[0], args[1], args[2], args[3])
	}
	return fmt.Errorf("no deed %s", deed)
}

func reader(path string) (bsdiff.Reader, func(), error) {
	if path == "" {
		return bsdiff.Reader{ReaderAt: empty{}}, func() {}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return bsdiff.Reader{}, nil, err
	}
	info, err := f.Stat()
	return bsdiff.Reader{ReaderAt: f, Bytes: info.Size()}, func() { f.Close() }, err
}

type empty struct{}

func (empty) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

func childCreate(ctx context.Context, oldPath, newPath, patchPath string, span int64) error {
	debug.SetGCPercent(10) // as holdfastctl does
	old, closeOld, err := reader(oldPath)
	if err != nil {
		return err
	}
	defer closeOld()
	neu, closeNew, err := reader(newPath)
	if err != nil {
		return err
	}
	defer closeNew()
	out, err := os.Create(patchPath)
	if err != nil {
		return err
	}
	if _, err := bsdiff.Create(ctx, old, neu, out, bsdiff.Options{SpanBytes: span}); err != nil {
		return err
	}
	return out.Close()
}

// childApply does what an update does with a file for a slot: no check of old, a sync at the end.
func childApply(ctx context.Context, oldPath, patchPath, newPath string) error {
	old, closeOld, err := reader(oldPath)
	if err != nil {
		return err
	}
	defer closeOld()
	patch, closePatch, err := reader(patchPath)
	if err != nil {
		return err
	}
	defer closePatch()
	m, err := bsdiff.ReadContainer(patch, patch.Bytes)
	if err != nil {
		return err
	}
	out, err := os.Create(newPath)
	if err != nil {
		return err
	}
	if err := out.Truncate(m.New.Bytes); err != nil {
		return err
	}
	a := &bsdiff.Applier{Manifest: m, Old: old, New: out, Blank: true}
	if err := a.Run(ctx, 0, bsdiff.RangeOf(patch), nil, func(int) error {
		// the disk may begin; the sync below is the one that counts
		return unix.SyncFileRange(int(out.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return out.Close()
}

// childCopy is cp with fsync.
func childCopy(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 128<<10)); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return out.Close()
}

// spoiled is an image of which some blocks have changed.
type spoiled struct {
	bsdiff.Reader
	blocks map[int64]bool
}

func (s spoiled) ReadAt(p []byte, at int64) (int, error) {
	n, err := s.Reader.ReadAt(p, at)
	for i := range p[:n] {
		if s.blocks[(at+int64(i))/bsdiff.BlockBytes] {
			p[i] ^= 0x5a
		}
	}
	return n, err
}

// childRepair applies over an old image of which 64 blocks, drawn at random, have changed, and prints what it fetched.
func childRepair(ctx context.Context, oldPath, patchPath, fullPath, newPath string) error {
	old, closeOld, err := reader(oldPath)
	if err != nil {
		return err
	}
	defer closeOld()
	bad := spoiled{old, map[int64]bool{}}
	for rnd := rand.New(rand.NewPCG(64, 4096)); len(bad.blocks) < min(64, int(old.Bytes/bsdiff.BlockBytes)); {
		bad.blocks[rnd.Int64N(old.Bytes/bsdiff.BlockBytes)] = true
	}
	patch, closePatch, err := reader(patchPath)
	if err != nil {
		return err
	}
	defer closePatch()
	full, closeFull, err := reader(fullPath)
	if err != nil {
		return err
	}
	defer closeFull()
	m, err := bsdiff.ReadContainer(patch, patch.Bytes)
	if err != nil {
		return err
	}
	fm, err := bsdiff.ReadContainer(full, full.Bytes)
	if err != nil {
		return err
	}
	out, err := os.Create(newPath)
	if err != nil {
		return err
	}
	if err := out.Truncate(m.New.Bytes); err != nil {
		return err
	}
	a := &bsdiff.Applier{Manifest: m, Old: bad, New: out, Blank: true}
	if err := a.Run(ctx, 0, bsdiff.RangeOf(patch), &bsdiff.Full{Manifest: fm, Open: bsdiff.RangeOf(full)}, nil); err != nil {
		return err
	}
	fmt.Printf("%d %d %d %d\n", a.Stats.Patch, a.Stats.Full, a.Stats.Repaired, len(m.Segments))
	return out.Close()
}
