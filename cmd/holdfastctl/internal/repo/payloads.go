package repo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"reflect"
	"strings"

	"holdfast/update"
	"holdfast/update/bsdiff"
)

// payloads reads every payload once, and decodes it where that is asked for.
func (v *verifier) payloads(ctx context.Context) {
	seen := map[string]bool{}
	for _, m := range v.manifests {
		for _, p := range m.Parts {
			for _, payload := range append([]update.Payload{p.Full}, p.Deltas...) {
				if seen[payload.File] || ctx.Err() != nil {
					continue
				}
				seen[payload.File] = true
				err := v.payload(ctx, payload)
				v.note(fmt.Sprintf("%s of %s, %s", payload.File, m.Release, p.Name), err)
				v.report.Payloads++
				v.report.Bytes += payload.Bytes
				if err == nil && v.Deep {
					v.note(fmt.Sprintf("%s of %s, %s", payload.File, m.Release, p.Name), v.decode(ctx, payload))
				}
			}
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// payload reads a payload from its beginning to its end: the head is what the manifest says, each segment has its checksum,
// the whole has the hash it is named by, and nothing follows. Of a server a part is asked for, too.
func (v *verifier) payload(ctx context.Context, p update.Payload) error {
	step, end := v.Progress(p.File[:24])
	defer end()
	in, err := v.source.open(ctx, p.File, 0, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	all := io.TeeReader(in, sum)
	head := make([]byte, p.Patch.Segments[0].Offset)
	if _, err := io.ReadFull(all, head); err != nil {
		return fmt.Errorf("its head: %w", err)
	}
	if m, err := bsdiff.ReadContainer(bytes.NewReader(head), -1); err != nil || !reflect.DeepEqual(m, p.Patch) {
		return errors.Join(errors.New("its head is not what the manifest says"), err)
	}
	for i, s := range p.Patch.Segments {
		if err := checkSegment(all, s); err != nil {
			return fmt.Errorf("segment %d: %w", i, err)
		}
		step(s.Offset+s.Length, p.Bytes)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(in, 1)); err != nil || n > 0 {
		return errors.Join(errors.New("it goes on after its end"), err)
	}
	if update.PayloadName([32]byte(sum.Sum(nil))) != p.File {
		return errors.New("its hash is another")
	}
	if !v.source.Remote() {
		return nil
	}
	last := p.Patch.Segments[len(p.Patch.Segments)-1]
	part, err := v.source.open(ctx, p.File, last.Offset, last.Length)
	if err != nil {
		return err
	}
	defer part.Close()
	return checkSegment(part, last)
}

func checkSegment(in io.Reader, s bsdiff.Segment) error {
	crc := crc32.New(castagnoli)
	if _, err := io.CopyN(crc, in, s.Length); err != nil {
		return err
	}
	if crc.Sum32() != s.CRC32C {
		return errors.New("its checksum is another")
	}
	return nil
}

// decode makes the image of a payload, and compares it. That of a delta is made from the old image, where one of the
// releases has it.
func (v *verifier) decode(ctx context.Context, p update.Payload) error {
	if p.Patch.Old.Bytes == 0 {
		v.report.Decoded++
		return v.image(ctx, p, strings.NewReader(""), nil)
	}
	for _, m := range v.manifests {
		for _, part := range m.Parts {
			if part.Image != p.Patch.Old {
				continue
			}
			old, err := os.CreateTemp("", "holdfastctl-verify-")
			if err != nil {
				return err
			}
			defer func() { old.Close(); os.Remove(old.Name()) }()
			if err := v.image(ctx, part.Full, strings.NewReader(""), old); err != nil {
				return fmt.Errorf("the old image: %w", err)
			}
			v.report.Decoded++
			return v.image(ctx, p, old, nil)
		}
	}
	return nil
}

// image makes the image of a payload and compares its hash. to may be nil.
func (v *verifier) image(ctx context.Context, p update.Payload, old io.ReaderAt, to io.WriterAt) error {
	out := &sequence{sum: sha256.New(), to: to}
	step, end := v.Progress("decoding " + p.File[:24])
	defer end()
	a := &bsdiff.Applier{Manifest: p.Patch, Old: old, New: out}
	err := a.Run(ctx, 0, func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
		return v.source.open(ctx, p.File, offset, length)
	}, nil, func(next int) error {
		step(int64(next), int64(len(p.Patch.Segments)))
		return nil
	})
	if err != nil {
		return err
	}
	if got := out.sum.Sum(nil); out.at != p.Patch.New.Bytes || [32]byte(got) != p.Patch.New.SHA256 {
		return fmt.Errorf("it makes another image: %d bytes, SHA-256 %s", out.at, hex.EncodeToString(got))
	}
	return nil
}

// A sequence sums what is written from the beginning to the end.
type sequence struct {
	sum hash.Hash
	at  int64
	to  io.WriterAt
}

func (s *sequence) WriteAt(p []byte, at int64) (int, error) {
	if at != s.at {
		return 0, fmt.Errorf("written at %d, after %d bytes", at, s.at)
	}
	s.at += int64(len(p))
	s.sum.Write(p)
	if s.to != nil {
		return s.to.WriteAt(p, at)
	}
	return len(p), nil
}
