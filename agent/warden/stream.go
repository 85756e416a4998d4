package warden

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"holdfast/actuators"
)

// A pull is one range of a stream that the deed waits for. The session fills p and answers once.
type pull struct {
	stream   int
	offset   int64
	p        []byte // what is still to be filled
	filled   int
	end      int64 // where the stream ends, at most
	open     bool  // it may end before
	answered bool
	reply    chan error // one slot: the session never waits for the deed
}

func (p *pull) answer(err error) {
	p.answered = true
	p.reply <- err
}

// streams returns what the caller announced as the deed reads it.
func (n *session) streams(r *request, past <-chan struct{}) []actuators.Stream {
	streams := make([]actuators.Stream, len(r.Streams))
	for i, a := range r.Streams {
		at := &pulled{n: n, past: past, stream: i, bytes: a.Bytes, open: a.Open}
		streams[i] = actuators.Stream{Name: a.Name, Bytes: a.Bytes, Open: a.Open, ReaderAt: at}
	}
	return streams
}

// A pulled stream lies at the other end of the connection.
type pulled struct {
	n      *session
	past   <-chan struct{}
	stream int
	bytes  int64
	open   bool
}

var errPast = errors.New("the deed is over")

// ReadAt implements io.ReaderAt by asking the caller for one window after the other.
func (s *pulled) ReadAt(b []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, errors.New("negative offset")
	}
	for n < len(b) {
		left := s.bytes - offset - int64(n)
		if left <= 0 {
			return n, io.EOF
		}
		window := min(int64(len(b)-n), left, windowBytes)
		p := &pull{stream: s.stream, offset: offset + int64(n), p: b[n : n+int(window)], end: s.bytes, open: s.open,
			reply: make(chan error, 1)}
		select {
		case s.n.pulls <- p:
		case <-s.past:
			return n, errPast
		}
		err := <-p.reply // the session answers whatever happens: until then b is its
		n += p.filled
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ask sends the pull frame.
func (n *session) ask(p *pull) error {
	b := n.w.payload()
	b[0] = byte(p.stream)
	binary.BigEndian.PutUint64(b[1:], uint64(p.offset))
	binary.BigEndian.PutUint32(b[9:], uint32(len(p.p)))
	return n.w.write(pullFrame, pullBytes)
}

// data takes a frame that came while a deed is done. It must be the next bytes of what was pulled; anything else, and
// the end of the connection, is an error.
func (n *session) data(p *pull, f frame) error {
	if f.err != nil {
		if gone(f.err) {
			return errHungUp
		}
		return f.err
	}
	defer n.take()
	if p == nil || f.kind != dataFrame || len(f.payload) < dataHead {
		return fmt.Errorf("%w: kind %d with %d bytes that nobody asked for", errFrame, f.kind, len(f.payload))
	}
	stream, flag, offset := int(f.payload[0]), f.payload[1], binary.BigEndian.Uint64(f.payload[2:])
	bytes := f.payload[dataHead:]
	if stream != p.stream || offset != uint64(p.offset) {
		return fmt.Errorf("%w: bytes of stream %d at %d where %d at %d is due", errFrame, stream, offset, p.stream, p.offset)
	}
	if flag == broken {
		p.answer(fmt.Errorf("caller's stream: %s", clip(string(bytes))))
		return nil
	}
	if len(bytes) > len(p.p) || (len(bytes) == 0 && flag != ended) || flag > broken {
		return fmt.Errorf("%w: %d bytes with flag %d where at most %d are due", errFrame, len(bytes), flag, len(p.p))
	}
	got := copy(p.p, bytes)
	p.p, p.filled, p.offset = p.p[got:], p.filled+got, p.offset+int64(got)
	switch {
	case flag == ended && !p.open && p.offset < p.end:
		p.answer(fmt.Errorf("caller's stream ends after %d of %d bytes: %w", p.offset, p.end, io.ErrUnexpectedEOF))
	case flag == ended && len(p.p) > 0:
		p.answer(io.EOF)
	case len(p.p) == 0:
		p.answer(nil)
	}
	return nil
}
