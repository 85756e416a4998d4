package mqtt

import "io"

// NewFilter opens the filter to the fuzzer, as it stands after a SUBSCRIBE of n filters.
func NewFilter(r io.Reader, limitBytes, n int) io.Reader {
	f := newFilter(r, limitBytes)
	f.filters.Store(int32(n))
	return f
}
