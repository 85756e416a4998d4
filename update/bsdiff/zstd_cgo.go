//go:build cgo

package bsdiff

import "github.com/DataDog/zstd"

// ZstdLibrary names what compresses zstd streams in this build.
const ZstdLibrary = "zstd's C library, level 19"

// newFrame returns a function that compresses at most 1 MiB to one frame; it is one goroutine's.
func newFrame() func(src []byte) ([]byte, error) {
	c := zstd.NewCtx()
	return func(src []byte) ([]byte, error) { return c.CompressLevel(nil, src, 19) }
}
