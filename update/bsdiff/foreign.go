package bsdiff

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/binary"
	"fmt"
	"io"
)

// A Kind is a form of patch file.
type Kind string

// The kinds, as the delta commands name them.
const (
	KindZstd     Kind = "zstd"     // our container
	KindBzip2    Kind = "bzip2"    // ENDSLEY/BSDIFF43 as icedream/go-bsdiff reads it
	KindBsdiff40 Kind = "bsdiff40" // Percival's own, which bspatch reads
)

// The BSDIFF40 file: magic, lengths of the compressed controls and diff bytes, size of new, all signed magnitudes in
// little-endian; then bzip2 of the controls, of the diff bytes, and of the extra bytes.
const (
	bsdiff40Magic  = "BSDIFF40"
	bsdiff40Header = 32
)

// Identify says what kind of patch a file is by its magic.
func Identify(patch Reader) (Kind, error) {
	var b [16]byte
	n, err := patch.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read patch: %w", err)
	}
	for magic, kind := range map[string]Kind{containerMagic: KindZstd, endsleyMagic: KindBzip2, bsdiff40Magic: KindBsdiff40} {
		if bytes.HasPrefix(b[:n], []byte(magic)) {
			return kind, nil
		}
	}
	return "", fmt.Errorf("%w: it begins like no patch that is known", ErrFormat)
}

// foreign opens the tuples of a patch without a table.
func foreign(ctx context.Context, patch Reader) (newBytes int64, t tuples, err error) {
	kind, err := Identify(patch)
	if err != nil {
		return 0, nil, err
	}
	if kind == KindBzip2 {
		return openEndsley(ctx, patch)
	}
	if kind == KindBsdiff40 {
		return openBsdiff40(ctx, patch)
	}
	return 0, nil, fmt.Errorf("%w: a %s patch has a table", ErrFormat, kind)
}

func openEndsley(ctx context.Context, patch Reader) (int64, tuples, error) {
	var head [endsleyHeader]byte
	if err := readFullAt(patch, head[:], 0); err != nil {
		return 0, nil, fmt.Errorf("%w: read header: %w", ErrFormat, err)
	}
	size := binary.BigEndian.Uint64(head[16:])
	if !bytes.HasPrefix(head[:], []byte(endsleyMagic)) || size > uint64(maxImage) {
		return 0, nil, fmt.Errorf("%w: a new image of %d bytes", ErrFormat, size)
	}
	if size == 0 && patch.Bytes == endsleyHeader {
		return 0, newInterleaved(bytes.NewReader(nil), bytes.NewReader(nil), bytes.NewReader(nil)), nil
	}
	r := member(ctx, patch, endsleyHeader, patch.Bytes-endsleyHeader)
	return int64(size), newInterleaved(r, r, r), nil
}

func openBsdiff40(ctx context.Context, patch Reader) (int64, tuples, error) {
	var head [bsdiff40Header]byte
	if err := readFullAt(patch, head[:], 0); err != nil {
		return 0, nil, fmt.Errorf("%w: read header: %w", ErrFormat, err)
	}
	controls, diffs, size := signed(head[8:]), signed(head[16:]), signed(head[24:])
	room := patch.Bytes - bsdiff40Header
	if controls < 0 || controls > room || diffs < 0 || diffs > room-controls {
		return 0, nil, fmt.Errorf("%w: parts of %d and %d bytes in %d", ErrFormat, controls, diffs, room)
	}
	if !bytes.HasPrefix(head[:], []byte(bsdiff40Magic)) || size < 0 || size > maxImage {
		return 0, nil, fmt.Errorf("%w: a new image of %d bytes", ErrFormat, size)
	}
	at := int64(bsdiff40Header)
	return size, newInterleaved(member(ctx, patch, at, controls), member(ctx, patch, at+controls, diffs),
		member(ctx, patch, at+controls+diffs, room-controls-diffs)), nil
}

// member decompresses a part of a file.
func member(ctx context.Context, r io.ReaderAt, at, length int64) io.Reader {
	section := &paced{ctx, io.NewSectionReader(r, at, length)}
	return bufio.NewReaderSize(bzip2.NewReader(bufio.NewReaderSize(section, 16<<10)), 4<<10)
}

// A paced reader ends with its context.
type paced struct {
	ctx context.Context
	r   io.Reader
}

func (p *paced) Read(b []byte) (int, error) {
	if err := pace(p.ctx, len(b)); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// ApplyForeign applies a patch of icedream/go-bsdiff or of bsdiff, which carry no hashes: what is returned without an
// error is as the patch says, and is right only if old is. It returns the size of new. neu must read as zeros where
// nothing is written.
func ApplyForeign(ctx context.Context, old, patch Reader, neu io.WriterAt) (int64, error) {
	size, t, err := foreign(ctx, patch)
	if err != nil {
		return 0, err
	}
	a := &Applier{New: neu}
	a.ahead.enough(batches)
	out, stop := a.ahead.start(ctx, old, func(context.Context) {
		err := a.ahead.follow(t, &walk{left: size, oldBytes: old.Bytes})
		if err != nil {
			err = (&wire{}).blame(err)
		}
		a.ahead.finish(ending{err: err})
	})
	defer stop()
	a.sink.begin(a, 0, BlockBytes, true)
	end, err := a.sink.drain(ctx, &a.ahead, out)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, err
	case end.err != nil:
		return 0, end.err
	}
	return size, end.old
}

// ForeignBytes returns how long the new image of a patch without a table is, as its header says.
func ForeignBytes(patch Reader) (int64, error) {
	size, _, err := foreign(context.Background(), patch)
	return size, err
}
