package warden

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"holdfast/actuators"
	"holdfast/board/strict"
)

// A Dial opens a connection to the server.
type Dial func(ctx context.Context) (net.Conn, error)

// Unix returns a Dial of the socket at path.
func Unix(path string) Dial {
	return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", path) }
}

// A Client asks the server for deeds. Each Do has a connection of its own, so that the server can end when there is
// nothing to do and nothing is held that could have gone stale; unless Keeping made it. It is safe for concurrent use; the
// server does one deed at a time.
type Client struct {
	Dial Dial // required
	// Reach bounds the attempts to get a server that listens and is not busy; 0 means 10 s, less than 0 one attempt.
	Reach time.Duration
	// Deed bounds a deed whose context has no deadline; 0 means 10 minutes.
	Deed time.Duration

	kept chan kept // nil for one that keeps none
}

// kept is a connection on which the server has answered.
type kept struct {
	w  *wire
	at time.Time
}

// keepAtMost is how old a connection may be that is used again: less than the server waits for a request.
const keepAtMost = 10 * time.Second

// Keeping returns a client that uses a connection again, for one who asks often. A deed whose answer did not come on it is
// asked for once more on another: all deeds must be such as may be done twice. Close ends the one that is kept.
func (c Client) Keeping() *Client {
	c.kept = make(chan kept, 1) // one is enough for one who asks one thing after the other
	return &c
}

// Close ends the connection that is kept.
func (c *Client) Close() error {
	select {
	case k := <-c.kept:
		return k.w.conn.Close()
	default: // also without any: a nil channel has nothing
		return nil
	}
}

// Do has the verb done and returns what it has to say; a result can come with an error. Streams in ctx
// (actuators.WithStreams) are read as the server asks for them. When ctx ends, the deed is cancelled and Do returns.
//
// The error is one of package actuators' where the server's was; ErrBusy or ErrUnreachable when nothing was done and
// another attempt makes sense; ErrLost when nobody knows.
func (c *Client) Do(ctx context.Context, verb string, args actuators.Args, reason string) (actuators.Result, error) {
	limit := c.Deed
	if limit <= 0 {
		limit = 10 * time.Minute
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	ask, err := newRequest(ctx, verb, args, reason)
	if err != nil {
		return nil, err
	}
	select {
	case k := <-c.kept:
		if time.Since(k.at) > keepAtMost {
			k.w.conn.Close()
			break
		}
		if result, err := c.over(ctx, k.w, ask); !errors.Is(err, ErrLost) || ctx.Err() != nil {
			return result, err
		}
	default:
	}
	w, err := c.reach(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	return c.over(ctx, w, ask)
}

// over does the deed over a connection, which it closes or keeps.
func (c *Client) over(ctx context.Context, w *wire, ask *request) (actuators.Result, error) {
	release := context.AfterFunc(ctx, func() { w.conn.Close() }) // hanging up is what cancels
	result, err := exchange(ctx, w, ask)
	if release() && !errors.Is(err, ErrLost) {
		select {
		case c.kept <- kept{w, time.Now()}:
			return result, err
		default: // another is kept, or none
		}
	}
	w.conn.Close()
	if errors.Is(err, ErrLost) && ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w: %w", ask.Verb, ErrLost, context.Cause(ctx)) // it was we who hung up
	}
	return result, err
}

func newRequest(ctx context.Context, verb string, args actuators.Args, reason string) (*request, error) {
	ask := &request{ID: rand.Text(), Verb: verb, Reason: reason}
	if deadline, ok := ctx.Deadline(); ok {
		ask.TimeoutMS = max(1, time.Until(deadline).Milliseconds())
	}
	for _, s := range actuators.Streams(ctx) {
		ask.Streams = append(ask.Streams, announcement{Name: s.Name, Bytes: s.Bytes, Open: s.Open})
	}
	var err error
	if len(args) > 0 {
		ask.Args, err = json.Marshal(args)
	}
	if err == nil {
		err = ask.valid()
	}
	if text, e := json.Marshal(ask); err == nil && e == nil && len(text) > jsonBytes {
		err = fmt.Errorf("%d bytes, at most %d fit a frame", len(text), jsonBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", verb, actuators.ErrInvalid, err)
	}
	return ask, nil
}

// reach returns a connection on which the server has said hello. Until then nothing has been asked, so it may try again.
func (c *Client) reach(ctx context.Context) (*wire, error) {
	limit, once := c.Reach, c.Reach < 0
	if limit <= 0 {
		limit = 10 * time.Second
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		w, err := c.greet(ctx)
		if err == nil {
			return w, nil
		}
		switch {
		case errors.Is(err, ErrStranger) || errors.Is(err, errFrame), once && errors.Is(err, ErrBusy):
			return nil, err
		case once:
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			if errors.Is(err, ErrBusy) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
	}
}

func (c *Client) greet(ctx context.Context) (*wire, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	w := &wire{conn: conn}
	err = w.hello()
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

// hello waits for the server's first frame.
func (w *wire) hello() error {
	k, payload, err := w.read(time.Now().Add(patience))
	if err != nil {
		return err
	}
	var h hello
	if k != helloFrame {
		return fmt.Errorf("%w: kind %d where hello is due", errFrame, k)
	}
	if err := understand(payload, &h); err != nil {
		return err
	}
	switch {
	case h.Code != "":
		return refusalOf(h.Code, "")
	case h.Protocol != protocol:
		return fmt.Errorf("%w: protocol %d, want %d", errFrame, h.Protocol, protocol)
	}
	return nil
}

// exchange sends the request, serves what is pulled, and returns the answer.
func exchange(ctx context.Context, w *wire, ask *request) (actuators.Result, error) {
	deadline := time.Now().Add(time.Duration(ask.TimeoutMS)*time.Millisecond + patience)
	if err := w.tell(requestFrame, ask); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ask.Verb, ErrLost, err)
	}
	streams := actuators.Streams(ctx)
	for {
		k, payload, err := w.read(deadline)
		switch {
		case err != nil:
		case k == pullFrame:
			err = w.serve(payload, streams)
		case k == responseFrame:
			return w.response(payload, ask)
		default:
			err = fmt.Errorf("%w: kind %d where an answer is due", errFrame, k)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", ask.Verb, ErrLost, err)
		}
	}
}

// serve answers one pull with data frames.
func (w *wire) serve(payload []byte, streams []actuators.Stream) error {
	if len(payload) != pullBytes {
		return fmt.Errorf("%w: a pull of %d bytes", errFrame, len(payload))
	}
	stream, offset, length := int(payload[0]), binary.BigEndian.Uint64(payload[1:]), binary.BigEndian.Uint32(payload[9:])
	if stream >= len(streams) || length == 0 || length > windowBytes || offset > 1<<53 ||
		int64(offset)+int64(length) > streams[stream].Bytes {
		return fmt.Errorf("%w: a pull of stream %d, %d bytes at %d", errFrame, stream, length, offset)
	}
	for at, left := int64(offset), int(length); left > 0; {
		b := w.payload()
		n, err := streams[stream].ReadAt(b[dataHead:dataHead+min(left, pieceBytes)], at)
		flag := more
		switch {
		case errors.Is(err, io.EOF):
			flag = ended
		case err != nil:
			flag, n = broken, copy(b[dataHead:], clip(err.Error()))
		case n == 0:
			flag, n = broken, copy(b[dataHead:], "no progress")
		}
		b[0], b[1] = byte(stream), flag
		binary.BigEndian.PutUint64(b[2:], uint64(at))
		if err := w.write(dataFrame, dataHead+n); err != nil || flag != more {
			return err
		}
		at, left = at+int64(n), left-n
	}
	return nil
}

// response reads the answer and what follows it.
func (w *wire) response(payload []byte, ask *request) (actuators.Result, error) {
	var r response
	err := understand(payload, &r)
	if err == nil && (r.ID != ask.ID || r.ResultBytes < 0 || r.ResultBytes > resultBytes) {
		err = fmt.Errorf("%w: the answer to %q, with %d bytes", errFrame, clip(r.ID), r.ResultBytes)
	}
	body := []byte(r.Result)
	if err == nil && r.ResultBytes > 0 {
		body, err = w.body(r.ResultBytes)
	}
	var result actuators.Result
	if err == nil && len(body) > 0 {
		err = strict.Unmarshal(body, &result, strict.Limits{Bytes: resultBytes, Depth: 8, Members: 16384})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", ask.Verb, ErrLost, err)
	}
	if !r.OK {
		return result, refusalOf(r.Code, r.Error)
	}
	return result, nil
}

func (w *wire) body(length int) ([]byte, error) {
	var body []byte // grows with what came, not with what was announced
	for len(body) < length {
		k, payload, err := w.read(time.Now().Add(patience))
		if err != nil {
			return nil, noEOF(err)
		}
		if k != bodyFrame || len(payload) == 0 || len(body)+len(payload) > length {
			return nil, fmt.Errorf("%w: kind %d with %d bytes in a result", errFrame, k, len(payload))
		}
		body = append(body, payload...)
	}
	return body, nil
}
