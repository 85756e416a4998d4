package bsdiff_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"testing"

	"holdfast/update/bsdiff"
)

// Whatever the bytes, what is accepted holds its own bounds and survives being written and read again.
func FuzzManifest(f *testing.F) {
	for _, c := range []bsdiff.Codec{bsdiff.Zstd, bsdiff.Bzip2} {
		_, m, _ := sealed(f, c)
		text, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := bsdiff.ParseManifest(text)
		if err != nil {
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("accepted and not written: %v", err)
		}
		if len(again) > 100*len(text)+1000 {
			t.Fatalf("%d bytes became %d", len(text), len(again))
		}
		if _, err := bsdiff.ParseManifest(again); err != nil {
			t.Fatalf("written and not accepted: %v", err)
		}
	})
}

// The header is not reached by chance when its hash must be right, so the fuzzer's bytes get a right one.
func FuzzContainer(f *testing.F) {
	p, m, patch := sealed(f, bsdiff.Zstd)
	f.Add(patch[:m.Segments[0].Offset-32], patch[m.Segments[0].Offset:])
	f.Fuzz(func(t *testing.T, head, streams []byte) {
		sum := sha256.Sum256(head)
		patch := append(append(bytes.Clone(head), sum[:]...), streams...)
		m, err := bsdiff.ReadContainer(bytes.NewReader(patch), int64(len(patch)))
		if err != nil || m.New.Bytes > 1<<20 {
			return
		}
		judge(t, m, p.old, patch)
	})
}

// judge applies a patch that may be anything: accepted is only what has the right hashes.
func judge(t *testing.T, m *bsdiff.Manifest, old, patch []byte) {
	var neu file
	a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: &neu}
	if a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil) != nil || m.Unhashed {
		return
	}
	for n, s := range m.Segments {
		if sha256.Sum256(neu.b[s.At:s.At+s.Bytes]) != s.SHA256 {
			t.Fatalf("segment %d is wrong and was accepted", n)
		}
	}
}

// Tuples as the device decodes them, inside a stream whose checksum is right.
func FuzzTuples(f *testing.F) {
	_, m, patch := sealed(f, bsdiff.Zstd)
	for _, s := range m.Segments {
		raw, err := bsdiff.Decompress(patch[s.Offset : s.Offset+s.Length])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, uint32(s.Bytes))
	}
	p, _, _ := sealed(f, bsdiff.Zstd)
	old := p.old
	f.Fuzz(func(t *testing.T, raw []byte, span uint32) {
		m, patch, err := bsdiff.Seal(raw, int64(span%(1<<18)), int64(len(old)))
		if err != nil {
			return
		}
		judge(t, m, old, patch)
	})
}

// Foreign patches carry no hashes; what is accepted has the size it claims.
func fuzzForeign(f *testing.F, kind bsdiff.Kind) {
	p, _, _ := sealed(f, bsdiff.Zstd)
	for _, small := range []pair{p, {"", []byte("holdfast"), []byte("holdfasts")}, {"", nil, []byte{1}}, {"", []byte{1}, nil}} {
		_, patch := create(f, small, bsdiff.Options{SpanBytes: 64 << 10})
		var out file
		if err := bsdiff.Convert(context.Background(), reader(patch), kind, &out); err != nil {
			f.Fatal(err)
		}
		f.Add(out.b)
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		neu := limited{limit: 4 << 20}
		n, err := bsdiff.ApplyForeign(context.Background(), reader(p.old), reader(patch), &neu)
		if err == nil && neu.end > n {
			t.Fatalf("%d bytes written of %d", neu.end, n)
		}
		var out limitedFile
		if bsdiff.Convert(context.Background(), reader(patch), bsdiff.KindZstd, &out) == nil {
			if _, err := bsdiff.ReadContainer(&out.file, int64(len(out.b))); err != nil {
				t.Fatalf("converted to what is refused: %v", err)
			}
		}
	})
}

func FuzzEndsley(f *testing.F)  { fuzzForeign(f, bsdiff.KindBzip2) }
func FuzzBsdiff40(f *testing.F) { fuzzForeign(f, bsdiff.KindBsdiff40) }

// limited counts, and is full at its limit: bzip2 can make gigabytes from a few bytes, which is the caller's disk.
type limited struct{ end, limit int64 }

func (l *limited) WriteAt(p []byte, at int64) (int, error) {
	if l.end = max(l.end, at+int64(len(p))); l.end > l.limit {
		return 0, errDisk
	}
	return len(p), nil
}

type limitedFile struct{ file }

func (l *limitedFile) WriteAt(p []byte, at int64) (int, error) {
	if at+int64(len(p)) > 1<<20 {
		return 0, errDisk
	}
	return l.file.WriteAt(p, at)
}
