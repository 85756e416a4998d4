// Package warden is a driver: it speaks the frames between the process that talks to the world and the one with power.
//
// A caller (Client) asks for one typed verb at a time; the server checks who asks, does the deed, and answers. Bytes
// too many for a frame are pulled by the server, range by range, so that it never holds more than it asked for. Over a
// Unix socket two processes speak, over Pipe two halves of one: there is one way through the code.
//
//	server: hello
//	caller: request
//	server: pull     caller: data …    as often as the deed reads a stream
//	server: response, and body frames when the result is longer than a frame
//
// Closing the connection cancels the deed. Deadlines are real time, because sockets are.
package warden

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"holdfast/board/strict"
)

// A frame is the length of its payload as four bytes, big-endian, one byte of kind, and the payload.
type kind byte

const (
	helloFrame    kind = 1 // server, JSON
	requestFrame  kind = 2 // caller, JSON
	responseFrame kind = 3 // server, JSON
	bodyFrame     kind = 4 // server: the next part of a long result
	pullFrame     kind = 5 // server: stream u8, offset u64, length u32
	dataFrame     kind = 6 // caller: stream u8, flag u8, offset u64, bytes
)

const (
	headBytes   = 5
	jsonBytes   = 4096
	pieceBytes  = 4096     // of a stream or a result in one frame
	windowBytes = 64 << 10 // asked for in one pull
	pullBytes   = 13
	dataHead    = 10
	frameBytes  = dataHead + pieceBytes // the longest payload
	resultBytes = 256 << 10             // the longest result: a script's output of control characters, escaped

	patience = 10 * time.Second // for the rest of a frame once it has begun, either way
)

// Flags of a data frame.
const (
	more   byte = 0
	ended  byte = 1 // the stream ends with these bytes
	broken byte = 2 // the caller could not read its stream; the bytes say why
)

var errFrame = errors.New("frame is not in order")

func (k kind) limit() int {
	switch k {
	case helloFrame, requestFrame, responseFrame:
		return jsonBytes
	case bodyFrame:
		return pieceBytes
	case pullFrame:
		return pullBytes
	case dataFrame:
		return frameBytes
	}
	return -1
}

// A wire reads and writes frames, each direction from one goroutine, in two buffers made once.
type wire struct {
	conn net.Conn
	in   [frameBytes]byte
	out  [headBytes + frameBytes]byte
}

// read returns the next frame; payload is valid until the next read. It waits for the first byte as long as the
// connection's deadline lets it, and for the rest as long as patience. The error is io.EOF between frames.
func (w *wire) read(first time.Time) (k kind, payload []byte, err error) {
	if err := w.conn.SetReadDeadline(first); err != nil {
		return 0, nil, err
	}
	head := w.in[:headBytes]
	if _, err := io.ReadFull(w.conn, head[:1]); err != nil {
		return 0, nil, err
	}
	if err := w.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	if _, err := io.ReadFull(w.conn, head[1:]); err != nil {
		return 0, nil, noEOF(err)
	}
	length, k := binary.BigEndian.Uint32(head), kind(head[4])
	if limit := k.limit(); limit < 0 || uint64(length) > uint64(limit) {
		return 0, nil, fmt.Errorf("%w: kind %d with %d bytes", errFrame, k, length)
	}
	payload = w.in[:length]
	if _, err := io.ReadFull(w.conn, payload); err != nil {
		return 0, nil, noEOF(err)
	}
	return k, payload, nil
}

// gone reports whether the error is how a connection ends whose other end was closed between frames. A pipe that is
// closed before a deadline is set on it, and a socket closed with bytes unread, have words of their own for that.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// payload returns room for the payload of the next frame to write.
func (w *wire) payload() []byte { return w.out[headBytes:] }

// write sends the first n bytes of payload as one frame.
func (w *wire) write(k kind, n int) error {
	binary.BigEndian.PutUint32(w.out[:], uint32(n))
	w.out[4] = byte(k)
	if err := w.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := w.conn.Write(w.out[:headBytes+n])
	return err
}

// tell sends a message as a JSON frame; one that is too long is not sent.
func (w *wire) tell(k kind, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(text) > jsonBytes {
		return fmt.Errorf("%w: %d bytes of JSON, at most %d", errFrame, len(text), jsonBytes)
	}
	return w.write(k, copy(w.payload(), text))
}

// understand reads a JSON frame's payload.
func understand(payload []byte, message any) error {
	if err := strict.Unmarshal(payload, message, strict.Limits{Bytes: jsonBytes, Depth: 9, Members: 512}); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	return nil
}
