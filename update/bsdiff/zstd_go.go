//go:build !cgo

package bsdiff

import "github.com/klauspost/compress/zstd"

// ZstdLibrary names what compresses zstd streams in this build.
const ZstdLibrary = "a zstd in Go, its best level: built without cgo, patches are larger than they need be"

// newFrame returns a function that compresses at most 1 MiB to one frame; it is one goroutine's.
func newFrame() func(src []byte) ([]byte, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(windowBytesMax), zstd.WithEncoderCRC(false))
	return func(src []byte) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return e.EncodeAll(src, nil), nil
	}
}
