package nbd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
)

// A Server gives media to clients, each by its name.
type Server struct {
	Exports map[string]*Medium
}

// Serve answers clients until ctx ends, and returns when the last connection is closed.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		conns.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			_ = s.Converse(conn) // what is wrong with a client is the client's
		})
	}
}

// Converse serves one client to its end. A client that disconnects as it should, or hangs up, is no error. One whose
// medium has no power is hung up on.
func (s *Server) Converse(conn io.ReadWriter) error {
	c := &conversation{r: bufio.NewReaderSize(conn, 64<<10), w: bufio.NewWriterSize(conn, 64<<10)}
	medium, err := c.negotiate(s.Exports)
	if err != nil || medium == nil {
		return quiet(err)
	}
	c.cuts = medium.cuts()
	for {
		if err := c.serve(medium); err != nil {
			return quiet(err)
		}
	}
}

func quiet(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// A conversation is one connection.
type conversation struct {
	r       *bufio.Reader
	w       *bufio.Writer
	payload []byte // of the request at hand, kept for the next
	cuts    int    // that the medium had before
}

func (c *conversation) put(values ...any) {
	for _, v := range values {
		_ = binary.Write(c.w, binary.BigEndian, v) // Flush tells
	}
}

// negotiate returns the medium that the client chose, nil when it wants none.
func (c *conversation) negotiate(exports map[string]*Medium) (*Medium, error) {
	c.put(uint64(magicServer), uint64(magicOption), uint16(flagFixedNewstyle|flagNoZeroes))
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	var flags uint32
	if err := binary.Read(c.r, binary.BigEndian, &flags); err != nil {
		return nil, err
	}
	if flags&^(flagFixedNewstyle|flagNoZeroes) != 0 {
		return nil, fmt.Errorf("client's flags %#x: %w", flags, errWire)
	}
	for range mostOptions {
		o, tooBig, err := readOption(c.r)
		if err != nil {
			return nil, err
		}
		medium, done, err := c.option(o, tooBig, exports, flags&flagNoZeroes == 0)
		if flushed := c.w.Flush(); err == nil {
			err = flushed
		}
		if err != nil || done {
			return medium, err
		}
	}
	return nil, fmt.Errorf("more than %d options: %w", mostOptions, errWire)
}

// option answers one. With a medium the negotiation is over.
func (c *conversation) option(o option, tooBig bool, exports map[string]*Medium, zeroes bool) (m *Medium, done bool, err error) {
	if tooBig {
		c.answer(o, repErrTooBig, nil)
		return nil, false, nil
	}
	switch o.kind {
	case optExportName:
		m := exports[string(o.data)]
		if m == nil { // there is no other way to say no
			return nil, false, fmt.Errorf("no export %.40q: %w", o.data, errWire)
		}
		c.put(uint64(m.size), m.flags())
		if zeroes {
			c.put([124]byte{})
		}
		return m, true, nil
	case optAbort:
		c.answer(o, repAck, nil)
		return nil, true, nil
	case optList:
		if len(o.data) > 0 {
			c.answer(o, repErrInvalid, nil)
			return nil, false, nil
		}
		for _, name := range slices.Sorted(maps.Keys(exports)) {
			c.answer(o, repServer, append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...))
		}
		c.answer(o, repAck, nil)
	case optInfo, optGo:
		name, blockSize, err := o.wanted()
		if err != nil {
			c.answer(o, repErrInvalid, nil)
			return nil, false, nil
		}
		m := exports[name]
		if m == nil {
			c.answer(o, repErrUnknown, nil)
			return nil, false, nil
		}
		info := binary.BigEndian.AppendUint16(nil, infoExport)
		c.answer(o, repInfo, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(info, uint64(m.size)), m.flags()))
		if blockSize {
			info = binary.BigEndian.AppendUint16(nil, infoBlockSize)
			for _, n := range []uint32{sectorBytes, 4096, payloadBytes} { // least, best, most
				info = binary.BigEndian.AppendUint32(info, n)
			}
			c.answer(o, repInfo, info)
		}
		c.answer(o, repAck, nil)
		if o.kind == optGo {
			return m, true, nil
		}
	default:
		c.answer(o, repErrUnsup, nil)
	}
	return nil, false, nil
}

func (c *conversation) answer(o option, kind uint32, data []byte) {
	c.put(uint64(magicAnswer), o.kind, kind, uint32(len(data)), data)
}

// serve does one request.
func (c *conversation) serve(m *Medium) error {
	var head [requestBytes]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return err
	}
	r, err := parseRequest(head[:])
	if err != nil {
		return err
	}
	if r.Command == disconnect {
		return io.EOF
	}
	number := r.check(m.size, m.readOnly)
	var p []byte
	if r.Command == Write || r.Command == Read && number == 0 {
		if p, err = c.buffer(r); err != nil {
			return err
		}
	}
	if number == 0 {
		switch err := m.do(r, p, c.cuts); {
		case errors.Is(err, ErrNoPower):
			return err
		case err != nil:
			number = errIO
		}
	}
	c.put(uint32(magicReply), number, r.cookie)
	if r.Command == Read && number == 0 {
		_, _ = c.w.Write(p)
	}
	if c.r.Buffered() >= requestBytes && number == 0 { // more is asked for already: it is answered together
		return nil
	}
	return c.w.Flush()
}

// buffer returns room for what is read, or what is to be written.
func (c *conversation) buffer(r Request) ([]byte, error) {
	if int64(cap(c.payload)) < r.Bytes {
		c.payload = make([]byte, r.Bytes)
	}
	p := c.payload[:r.Bytes]
	if r.Command != Write {
		return p, nil
	}
	_, err := io.ReadFull(c.r, p)
	return p, err
}
