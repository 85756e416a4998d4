package bsdiff

import (
	"bufio"
	"compress/bzip2"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	batchBytes = 128 << 10 // of output; at least the greatest block a manifest may ask for
	batches    = 16        // a wide margin: code is slow to decode, what has not changed is slow to sum
	spares     = 3         // one that is filled, one that old is added to, one that is written
)

// A batch is a part of a segment's output on its way from the patch to the new image: first it holds diff and extra
// bytes, and where old is to be added; then old is added; then it is summed and written.
type batch struct {
	buf    []byte
	pieces []piece
	last   *ending // of the segment; nil in all other batches
}

// A piece is a part of a batch to which old bytes are added. Of a plain one there are only the old bytes.
type piece struct {
	from, n int
	old     int64
	plain   bool
}

// An ending is what is known of a segment when all of its stream was decoded, or as much as could be.
type ending struct {
	err  error // of the patch
	old  error // the first of reading old
	read int64 // bytes of the patch
}

// A pipeline decodes segments and adds old to them, each on a goroutine of its own, ahead of the one that takes the
// batches: on two cores the three take half as long as one after the other. What it holds is allocated once.
type pipeline struct {
	free    chan *batch // as long as there are batches, so that giving one back never waits
	decoded chan *batch // of as many, likewise
	now     *batch      // that is filled
	ctx     context.Context

	old    pages
	source *bufio.Reader
	zstd   *zstd.Decoder
	group  []byte
}

// enough makes the batches, where there are none yet.
func (p *pipeline) enough(n int) {
	if p.free != nil {
		return
	}
	p.free = make(chan *batch, n)
	for range n {
		p.free <- &batch{buf: make([]byte, 0, batchBytes)}
	}
}

// start runs decode, which fills batches with room and ends each segment with finish. The batches come out in order, and
// are given back with release. stop ends what was started, and must be called.
func (p *pipeline) start(ctx context.Context, old io.ReaderAt, decode func(context.Context)) (out <-chan *batch, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	mixed := make(chan *batch, cap(p.free)) // so that handing on never waits
	p.ctx, p.decoded = ctx, make(chan *batch, cap(p.free))
	go func() {
		defer close(p.decoded)
		decode(ctx)
		if p.now != nil {
			p.release(p.now)
			p.now = nil
		}
	}()
	go func() {
		defer close(mixed)
		p.mix(old, mixed)
	}()
	return mixed, func() {
		cancel()
		for b := range mixed {
			p.release(b)
		}
	}
}

// mix adds old to what was decoded.
func (p *pipeline) mix(old io.ReaderAt, mixed chan<- *batch) {
	p.old.begin(old)
	for b := range p.decoded {
		for _, piece := range b.pieces {
			p.old.add(b.buf[piece.from:][:piece.n], piece.old, piece.plain)
		}
		if b.last != nil {
			b.last.old = p.old.err
			p.old.begin(old)
		}
		mixed <- b
	}
}

func (p *pipeline) release(b *batch) {
	b.buf, b.pieces, b.last = b.buf[:0], b.pieces[:0], nil
	p.free <- b
}

// fill sees to it that the present batch has room; false when the work is to end.
func (p *pipeline) fill() bool {
	if p.now != nil && len(p.now.buf) == batchBytes {
		p.decoded <- p.now
		p.now = nil
	}
	if p.now == nil {
		select {
		case p.now = <-p.free:
		case <-p.ctx.Done():
		}
	}
	return p.now != nil
}

// room returns the next at most n bytes of output, to be filled before the next call, or nothing when the work is to end.
func (p *pipeline) room(n int64) []byte {
	if !p.fill() {
		return nil
	}
	from := len(p.now.buf)
	p.now.buf = p.now.buf[:min(batchBytes, int64(from)+n)]
	return p.now.buf[from:]
}

// finish ends a segment. Of one with an error, what is not yet handed over is dropped.
func (p *pipeline) finish(e ending) bool {
	if p.now == nil && !p.fill() {
		return false
	}
	b := p.now
	if p.now = nil; e.err != nil {
		b.buf, b.pieces = b.buf[:0], b.pieces[:0]
	}
	b.last = &e
	p.decoded <- b
	return e.err == nil
}

// segment decodes segment n of m from its range, at the beginning of patch.
func (p *pipeline) segment(ctx context.Context, m *Manifest, n int, patch io.Reader) bool {
	s := m.Segments[n]
	wire := &wire{ctx: ctx, r: patch, left: s.Length}
	t, err := p.open(m.Codec, wire)
	if err == nil {
		w := &walk{left: s.Bytes, oldBytes: m.Old.Bytes}
		err = p.follow(t, w)
		switch {
		case err != nil:
			err = wire.blame(err)
		case w.pos != 0:
			err = damaged("it ends at old position %d", w.pos)
		case wire.left > 0:
			err = damaged("its stream ends %d bytes early", wire.left)
		case wire.crc != s.CRC32C:
			err = damaged("its checksum is wrong")
		}
	}
	return p.finish(ending{err: err, read: wire.read})
}

// widest is an empty zstd frame with a window of windowBytesMax: a decoder that has seen it has allocated what any other
// can need, where it would else begin anew for each frame that is larger than all before.
const widest = "\x28\xb5\x2f\xfd" + "\x00\x50" + "\x01\x00\x00"

// open puts the decoder for a codec over a segment's bytes.
func (p *pipeline) open(c Codec, r io.Reader) (tuples, error) {
	if p.source == nil {
		p.source = bufio.NewReaderSize(nil, 16<<10)
	}
	p.source.Reset(r)
	if c == Bzip2 {
		// A decoder cannot be used again after the end of its stream, so each segment costs a new one: the generator keeps
		// its blocks small.
		b := bufio.NewReaderSize(bzip2.NewReader(p.source), 512)
		return newInterleaved(b, b, b), nil
	}
	if p.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(windowBytesMax), zstd.WithDecoderMaxMemory(maxSpan))
		if err != nil {
			return nil, fmt.Errorf("zstd decoder: %w", err)
		}
		p.zstd, p.group = d, make([]byte, groupBytes)
		if err = p.zstd.Reset(strings.NewReader(widest)); err == nil {
			_, err = p.zstd.WriteTo(io.Discard)
		}
		if err != nil {
			return nil, fmt.Errorf("zstd decoder: %w", err)
		}
	}
	if err := p.zstd.Reset(p.source); err != nil {
		return nil, fmt.Errorf("zstd decoder: %w", err)
	}
	return newPacked(p.zstd, p.group), nil
}

// follow carries out tuples until the span is full.
func (p *pipeline) follow(t tuples, w *walk) error {
	for w.left > 0 {
		c, err := t.next()
		if err != nil {
			return err
		}
		if err := w.step(c); err != nil {
			return err
		}
		for from, left := w.pos, c.diff; left > 0; {
			b := p.room(left)
			if b == nil {
				return p.ctx.Err()
			}
			plain, err := t.diff(b)
			if err != nil {
				return err
			}
			p.now.pieces = append(p.now.pieces, piece{len(p.now.buf) - len(b), len(b), from, plain})
			from, left = from+int64(len(b)), left-int64(len(b))
		}
		for left := c.extra; left > 0; {
			b := p.room(left)
			if b == nil {
				return p.ctx.Err()
			}
			if err := t.extra(b); err != nil {
				return err
			}
			left -= int64(len(b))
		}
		if err := w.done(c); err != nil {
			return err
		}
	}
	return t.end()
}
