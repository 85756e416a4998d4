package bsdiff

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
)

// Options say how a patch is made. The zero value makes a zstd patch of 4 MiB segments on all cores.
type Options struct {
	Codec     Codec
	SpanBytes int64 // a multiple of BlockBytes from 64 KiB to 64 MiB
	Workers   int   // the patch is the same whatever their number
	// Progress is called from Create's goroutine, with work done and in all, both in bytes weighed by what they cost.
	Progress func(done, total int64)
}

// A Reader is an image of a known size.
type Reader struct {
	io.ReaderAt
	Bytes int64
}

// cutWeight is what cutting and compressing a byte costs, in bytes read and summed.
const cutWeight = 20

// Create makes the patch that turns old into new and writes it at the beginning of patch. It returns when all goroutines
// it started have. Memory: six bytes for each byte of old that new does not hold in whole blocks, of at most 144 MiB at
// a time, and some 40 MiB a worker. An empty old makes a full image.
func Create(ctx context.Context, old, neu Reader, patch io.WriterAt, o Options) (*Manifest, error) {
	if o.Codec == 0 {
		o.Codec = Zstd
	}
	if o.SpanBytes == 0 {
		o.SpanBytes = SpanBytes
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.SpanBytes < minSpan || o.SpanBytes > maxSpan || o.SpanBytes%BlockBytes != 0 {
		return nil, fmt.Errorf("segments of %d bytes: they are multiples of %d from %d to %d", o.SpanBytes, BlockBytes, minSpan, maxSpan)
	}
	if old.Bytes > maxImage || (neu.Bytes+o.SpanBytes-1)/o.SpanBytes > maxSegments {
		return nil, fmt.Errorf("an image of %d bytes: too large for segments of %d", max(old.Bytes, neu.Bytes), o.SpanBytes)
	}
	g := &generator{Options: o, oldImage: old, newImage: neu, patch: patch, total: old.Bytes + (1+cutWeight)*neu.Bytes}
	return g.run(ctx)
}

type generator struct {
	Options
	oldImage, newImage Reader
	patch              io.WriterAt
	done, total        int64
	survey             survey
	manifest           Manifest
	end                int64 // of the patch so far
}

func (g *generator) step(n int64) {
	g.done += n
	if g.Progress != nil {
		g.Progress(g.done, g.total)
	}
}

func (g *generator) run(ctx context.Context) (*Manifest, error) {
	s := &g.survey
	s.block, s.oldSize, s.newSize = BlockBytes, g.oldImage.Bytes, g.newImage.Bytes
	if err := s.readOld(ctx, g.oldImage, g.step); err != nil {
		return nil, err
	}
	if err := s.readNew(ctx, g.newImage, int(g.SpanBytes), g.step); err != nil {
		return nil, err
	}
	g.manifest = Manifest{Codec: g.Codec, BlockBytes: BlockBytes, Old: Image{s.oldSize, s.oldSum}, New: Image{s.newSize, s.newSum},
		Segments: make([]Segment, len(s.segments))}
	s.marks, s.first = nil, nil
	g.end = tableEnd(len(s.segments))
	if g.Codec == Bzip2 {
		g.end = endsleyHeader
	}
	for _, p := range s.plans() {
		if err := g.carryOut(ctx, p); err != nil {
			return nil, err
		}
	}
	head := g.manifest.header()
	if g.Codec == Bzip2 {
		head = appendEndsley(nil, s.newSize)
	}
	if _, err := g.patch.WriteAt(head, 0); err != nil {
		return nil, fmt.Errorf("write patch: %w", err)
	}
	return &g.manifest, g.manifest.check()
}

// carryOut makes the streams of a plan's segments and writes them in order.
func (g *generator) carryOut(ctx context.Context, p plan) error {
	w, err := g.survey.open(ctx, p, g.oldImage, func(n int, do func(int) error) error {
		return inOrder(ctx, g.Workers, n, func() func(int) (struct{}, error) {
			return func(i int) (struct{}, error) { return struct{}{}, do(i) }
		}, func(int, struct{}) error { return nil })
	})
	if err != nil {
		return err
	}
	return inOrder(ctx, g.Workers, p.to-p.from, func() func(int) ([]byte, error) {
		b := &bench{g: g, lens: lens{oldWindow: w}, squeeze: newSqueezer(g.Codec)}
		return func(i int) ([]byte, error) { return b.segment(p.from + i) }
	}, func(i int, stream []byte) error {
		return g.write(p.from+i, stream)
	})
}

func (g *generator) write(i int, stream []byte) error {
	if _, err := g.patch.WriteAt(stream, g.end); err != nil {
		return fmt.Errorf("write patch at %d: %w", g.end, err)
	}
	at := int64(i) * g.SpanBytes
	s := &g.manifest.Segments[i]
	*s = Segment{At: at, Bytes: min(g.SpanBytes, g.newImage.Bytes-at), Offset: g.end, Length: int64(len(stream)),
		CRC32C: crc32.Checksum(stream, castagnoli), SHA256: g.survey.segments[i]}
	g.end += s.Length
	g.step(cutWeight * s.Bytes)
	return nil
}

// A bench is where one worker makes segments.
type bench struct {
	g       *generator
	lens    lens
	neu     []byte
	diff    []byte
	squeeze squeezer
}

func (b *bench) segment(i int) ([]byte, error) {
	at := int64(i) * b.g.SpanBytes
	size := int(min(b.g.SpanBytes, b.g.newImage.Bytes-at))
	if b.neu == nil {
		b.neu, b.diff = make([]byte, b.g.SpanBytes), make([]byte, b.g.SpanBytes)
	}
	neu := b.neu[:size]
	if err := readFullAt(b.g.newImage, neu, at); err != nil {
		return nil, fmt.Errorf("read new image at %d: %w", at, err)
	}
	cuts := cut(&b.lens, neu, b.g.survey.pieces[i])
	if b.lens.err != nil {
		return nil, b.lens.err
	}
	return b.encode(neu, cuts)
}

// encode writes a segment's tuples as the patch has them: relative, from old position 0 and back to it.
func (b *bench) encode(neu []byte, cuts []tuple) ([]byte, error) {
	var pos int64
	for i := range cuts {
		if cuts[i].diff == 0 {
			cuts[i].old = pos // nothing is read there, so nothing needs to be moved
		}
		pos = cuts[i].old + int64(cuts[i].diff)
	}
	if cuts[0].old != 0 {
		b.squeeze.tuple(nil, nil, cuts[0].old)
	}
	for i, t := range cuts {
		diff := b.diff[:t.diff]
		if err := readFullAt(b.g.oldImage, diff, t.old); err != nil {
			return nil, fmt.Errorf("read old image at %d: %w", t.old, err)
		}
		if bytes.Equal(diff, neu[:t.diff]) {
			clear(diff)
		} else {
			for j, c := range neu[:t.diff] {
				diff[j] = c - diff[j]
			}
		}
		next := int64(0)
		if i+1 < len(cuts) {
			next = cuts[i+1].old
		}
		b.squeeze.tuple(diff, neu[t.diff:t.diff+t.extra], next-t.old-int64(t.diff))
		neu = neu[t.diff+t.extra:]
	}
	return b.squeeze.finish()
}
