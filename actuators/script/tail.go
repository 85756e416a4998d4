package script

import "io"

// A tail keeps the last outputBytes of what it is given, in one buffer that never grows beyond twice that.
type tail struct {
	kept []byte
	cut  bool
}

// drain reads r to its end.
func (t *tail) drain(r io.Reader) {
	var chunk [4096]byte
	for {
		n, err := r.Read(chunk[:])
		t.add(chunk[:n])
		if err != nil {
			return
		}
	}
}

func (t *tail) add(p []byte) {
	if len(t.kept)+len(p) > 2*outputBytes {
		t.kept = t.kept[:copy(t.kept, t.kept[len(t.kept)-outputBytes:])]
		t.cut = true
	}
	t.kept = append(t.kept, p...)
}

// bytes returns the tail, and whether anything is missing before it.
func (t *tail) bytes() (kept []byte, cut bool) {
	if over := len(t.kept) - outputBytes; over > 0 {
		return t.kept[over:], true
	}
	return t.kept, t.cut
}
