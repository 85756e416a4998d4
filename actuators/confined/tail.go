package confined

import (
	"io"
	"time"
)

// A tail keeps the last bytes of what it is given, in one buffer that never grows beyond twice as many.
type tail struct {
	most int
	kept []byte
	cut  bool
}

// breath is taken after every chunk of 64 KiB: a flood waits, and takes at most 32 MiB a second of this process.
const (
	chunkBytes = 64 << 10
	breath     = 2 * time.Millisecond
)

// drain reads r to its end.
func (t *tail) drain(r io.Reader, pause func(time.Duration)) {
	var chunk [4096]byte
	for read := 0; ; {
		n, err := r.Read(chunk[:])
		t.add(chunk[:n])
		if err != nil {
			return
		}
		if read += n; read >= chunkBytes {
			pause(breath)
			read = 0
		}
	}
}

func (t *tail) add(p []byte) {
	if len(t.kept)+len(p) > 2*t.most && len(t.kept) > t.most {
		t.kept = t.kept[:copy(t.kept, t.kept[len(t.kept)-t.most:])]
		t.cut = true
	}
	t.kept = append(t.kept, p...)
}

// bytes returns the tail, and whether anything is missing before it.
func (t *tail) bytes() (kept []byte, cut bool) {
	if over := len(t.kept) - t.most; over > 0 {
		return t.kept[over:], true
	}
	return t.kept, t.cut
}
