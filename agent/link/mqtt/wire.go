package mqtt

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A wire is the transport as the library sees it. The library would allocate whatever length a broker names, index past
// its list of filters when an answer names too many, and write acknowledgements and pings without a deadline.
type wire struct {
	net.Conn
	in      *filter
	timeout time.Duration

	writing sync.Mutex // the library writes from two goroutines
	said    bool       // DISCONNECT was sent, nothing may follow (MQTT 3.1.1, 3.14.4)

	mu  sync.Mutex
	why error
}

func newWire(c net.Conn, limitBytes int, timeout time.Duration) *wire {
	return &wire{Conn: c, in: newFilter(c, limitBytes), timeout: timeout}
}

// expect announces a SUBSCRIBE of n filters.
func (w *wire) expect(n int) { w.in.filters.Store(int32(n)) }

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		// The library takes the text of a closed connection for its own doing and would wait for a ping to fail.
		if w.why != nil {
			return n, w.why
		}
	}
	return n, err
}

// Write writes one packet: the library never splits one.
func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.said {
		return len(p), nil // an acknowledgement of what nobody took
	}
	return w.write(p, w.timeout)
}

func (w *wire) write(p []byte, timeout time.Duration) (int, error) {
	if err := w.Conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
	n, err := w.Conn.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.Conn.SetWriteDeadline(time.Time{}) // TLS writes on its own account too
}

// SetWriteDeadline does nothing: Write sets its own, and the library lifts it while another goroutine writes.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// goodbye sends DISCONNECT, after which the broker forgets the will and closes.
func (w *wire) goodbye() {
	w.writing.Lock()
	defer w.writing.Unlock()
	if !w.said {
		w.said = true
		_, _ = w.write([]byte{0xE0, 0}, min(w.timeout, farewell)) // a broker that is gone needs no goodbye
	}
}

// shut closes the connection for a reason that the library then reports.
func (w *wire) shut(why error) {
	w.mu.Lock()
	if w.why == nil {
		w.why = why
	}
	w.mu.Unlock()
	if t, ok := w.Conn.(*tls.Conn); ok {
		_ = t.NetConn().Close() // Close would first wait 5 s to say so to a peer that may be stalled
		return
	}
	_ = w.Conn.Close()
}

// A filter passes on MQTT packets a client of ours may receive, and nothing else. A publication that is too large is cut
// to one byte more than the largest payload: the dialect refuses it by its size, and it is acknowledged, whereas a
// broken connection would get the same retained message again for ever.
type filter struct {
	r       *bufio.Reader
	limit   int          // bytes behind the fixed header
	filters atomic.Int32 // of the SUBSCRIBE that waits for its answer
	open    bool         // CONNACK has come
	head    []byte       // to be passed on
	body    int          // to be passed on
	skip    int          // to be dropped
	err     error
}

func newFilter(r io.Reader, limitBytes int) *filter {
	return &filter{r: bufio.NewReaderSize(r, 2048), limit: limitBytes}
}

func (f *filter) Read(p []byte) (int, error) {
	for f.err == nil {
		switch {
		case len(p) == 0:
			return 0, nil
		case len(f.head) > 0:
			n := copy(p, f.head)
			f.head = f.head[n:]
			return n, nil
		case f.body > 0:
			n, err := f.r.Read(p[:min(len(p), f.body)])
			f.body -= n
			return n, err
		case f.skip > 0:
			n, err := f.r.Discard(min(f.skip, 1<<16))
			f.skip -= n
			f.err = err
		default:
			f.err = f.header()
		}
	}
	return 0, f.err
}

const (
	connack  = 2
	publish  = 3
	puback   = 4
	suback   = 9
	pingresp = 13
)

// header reads and judges a fixed header (MQTT 3.1.1, 2.2).
func (f *filter) header() error {
	first, err := f.r.ReadByte()
	if err != nil {
		return err
	}
	length := 0
	for shift := 0; ; shift += 7 {
		b, err := f.r.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return errors.New("protocol violation: malformed length")
		}
	}
	if err := f.judge(first, length); err != nil {
		return err
	}
	f.body = min(length, f.limit)
	f.skip = length - f.body
	f.head = append(f.head[:0:0], first)
	for rest := f.body; ; {
		b := byte(rest & 0x7f)
		if rest >>= 7; rest > 0 {
			f.head = append(f.head, b|0x80)
			continue
		}
		f.head = append(f.head, b)
		return nil
	}
}

func (f *filter) judge(first byte, length int) error {
	kind, flags := first>>4, first&0x0f
	if (kind == connack) == f.open {
		return fmt.Errorf("protocol violation: packet type %d out of turn", kind)
	}
	good := false
	switch kind {
	case connack:
		f.open = true
		if length != 2 {
			break
		}
		code, err := f.r.Peek(2)
		if err != nil {
			return unexpected(err)
		}
		good = flags == 0 && code[0] <= 1 && code[1] <= 5
	case publish:
		qos := flags >> 1 & 3
		good = qos <= 1 && length >= 3
		if good && length > f.limit { // only a payload is cut, never a topic
			topic, err := f.r.Peek(2)
			if err != nil {
				return unexpected(err)
			}
			good = int(topic[0])<<8|int(topic[1]) <= topicBytes
		}
	case puback:
		good = flags == 0 && length == 2
	case suback:
		good = flags == 0 && length > 2 && length <= 2+int(f.filters.Swap(0))
	case pingresp:
		good = flags == 0 && length == 0
	}
	if !good {
		return fmt.Errorf("protocol violation: packet type %d, flags %#x, %d bytes", kind, flags, length)
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
