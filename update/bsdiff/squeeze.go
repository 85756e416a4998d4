package bsdiff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/dsnet/compress/bzip2"
)

// A squeezer makes the stream of one segment after the other from their tuples.
type squeezer interface {
	tuple(diff, extra []byte, seek int64)
	finish() ([]byte, error) // the stream; the next tuple begins another
}

func newSqueezer(c Codec) squeezer {
	if c == Bzip2 {
		return &interleaver{}
	}
	return &zstdSqueezer{frame: newFrame()}
}

// zstdSqueezer compresses the packed form in frames of at most a window: what a frame holds is its window, so that the
// device needs no more however the segment is made.
type zstdSqueezer struct {
	packer
	frame func(src []byte) ([]byte, error)
}

func (z *zstdSqueezer) finish() ([]byte, error) {
	z.flush()
	var stream []byte
	for rest := z.out; len(rest) > 0; {
		n := min(len(rest), windowBytesMax)
		b, err := z.frame(rest[:n])
		if err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		stream = append(stream, b...)
		rest = rest[n:]
	}
	z.out = z.out[:0]
	return stream, nil
}

// The ENDSLEY/BSDIFF43 file: magic, size of new as icedream writes it (big-endian, where Endsley's own is little-endian),
// bzip2 of the tuples.
const (
	endsleyMagic  = "ENDSLEY/BSDIFF43"
	endsleyHeader = 24
	// bzip2Level is the size of blocks in 100 kB. The device's decoder takes four bytes for each.
	bzip2Level = 5
)

func appendEndsley(b []byte, newBytes int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, endsleyMagic...), uint64(newBytes))
}

// An interleaver writes tuples as bspatch reads them.
type interleaver struct{ raw []byte }

func (b *interleaver) tuple(diff, extra []byte, seek int64) {
	b.raw = appendControl(b.raw, int64(len(diff)), int64(len(extra)), seek)
	b.raw = append(append(b.raw, diff...), extra...)
}

func appendControl(b []byte, diff, extra, seek int64) []byte {
	return appendSigned(appendSigned(appendSigned(b, diff), extra), seek)
}

func (b *interleaver) finish() ([]byte, error) {
	stream, err := bzip2Of(b.raw, bzip2Level)
	b.raw = b.raw[:0]
	return stream, err
}

func bzip2Of(raw []byte, level int) ([]byte, error) {
	var out bytes.Buffer
	w, err := bzip2Writer(&out, level)
	if err == nil {
		if _, err = w.Write(raw); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bzip2: %w", err)
	}
	return out.Bytes(), nil
}

func bzip2Writer(w io.Writer, level int) (io.WriteCloser, error) {
	return bzip2.NewWriter(w, &bzip2.WriterConfig{Level: level})
}
