package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"holdfast/actuators"
)

// A session is one connection at the server's end. One goroutine owns it; another reads frames and hands each over, and
// reads no further before it was taken; the deed has a third, and asks for ranges of streams over pulls.
type session struct {
	s      *Server
	w      *wire
	frames chan frame    // unbuffered: the reader holds one frame at most
	taken  chan struct{} // the frame's payload may be overwritten
	pulls  chan *pull    // unbuffered: a deed reads one range at a time
	over   chan struct{} // closed when the session ends
}

type frame struct {
	kind    kind
	payload []byte
	err     error
}

var errHungUp = fmt.Errorf("caller hung up: %w", context.Canceled)

func (s *Server) serve(ctx context.Context, conn net.Conn) error {
	n := &session{s: s, w: &wire{conn: conn}, frames: make(chan frame), taken: make(chan struct{}),
		pulls: make(chan *pull), over: make(chan struct{})}
	var reader sync.WaitGroup
	defer reader.Wait()
	defer conn.Close()
	defer close(n.over)
	if err := n.w.tell(helloFrame, hello{Protocol: protocol}); err != nil {
		return nil // gone before it was greeted
	}
	reader.Go(n.read)
	for {
		wait := time.NewTimer(s.o.Stall)
		var f frame
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
			return nil // a caller with nothing to ask
		case f = <-n.frames:
			wait.Stop()
		}
		if gone(f.err) {
			return nil
		}
		if err := n.request(ctx, f); err != nil {
			return err
		}
	}
}

// read hands frames over until one cannot be read or the session is over.
func (n *session) read() {
	for {
		var f frame
		f.kind, f.payload, f.err = n.w.read(time.Time{})
		select {
		case n.frames <- f:
		case <-n.over:
			return
		}
		if f.err != nil {
			return
		}
		select {
		case <-n.taken:
		case <-n.over:
			return
		}
	}
}

func (n *session) take() {
	select {
	case n.taken <- struct{}{}:
	case <-n.over:
	}
}

// request answers one request. An error means that the connection is of no more use.
func (n *session) request(ctx context.Context, f frame) error {
	if f.err != nil {
		return f.err
	}
	var r request
	if f.kind != requestFrame {
		return fmt.Errorf("%w: kind %d where a request is due", errFrame, f.kind)
	}
	err := understand(f.payload, &r)
	n.take()
	if err != nil {
		return err
	}
	if err := r.valid(); err != nil {
		return err
	}
	limit := n.s.o.Deed
	if n.s.aside(r.Verb) {
		limit = n.s.o.Aside
	}
	if asked := time.Duration(r.TimeoutMS) * time.Millisecond; r.TimeoutMS > 0 && r.TimeoutMS < limit.Milliseconds() {
		limit = asked
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	result, err := n.attend(ctx, &r)
	if lost := new(lostError); errors.As(err, &lost) {
		return lost.err
	}
	return n.answer(&r, result, err)
}

// A lostError says that the caller is gone or out of order: there is nobody to answer.
type lostError struct{ err error }

func (l *lostError) Error() string { return l.err.Error() }

// attend has the deed done and meanwhile fetches what it pulls. It returns after the deed has.
func (n *session) attend(ctx context.Context, r *request) (actuators.Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type outcome struct {
		result actuators.Result
		err    error
	}
	done := make(chan outcome, 1) // the deed leaves its outcome and goes
	past := make(chan struct{})   // closed when the deed may pull no more
	defer close(past)
	go func() {
		result, err := n.s.do(ctx, r, n.streams(r, past))
		done <- outcome{result, err}
	}()
	a := &attention{n: n, cancel: cancel, stall: time.NewTimer(n.s.o.Stall), frames: n.frames}
	defer a.stall.Stop()
	ended := ctx.Done()
	for {
		select {
		case o := <-done:
			if a.lost != nil {
				return nil, a.lost
			}
			return o.result, o.err
		case <-ended:
			if ended = nil; a.now != nil { // the deed waits for bytes it no longer needs, and they would come unasked
				a.hangUp(context.Cause(ctx))
			}
		case p := <-n.pulls:
			if ctx.Err() != nil {
				p.answer(context.Cause(ctx))
			} else {
				a.pull(p)
			}
		case <-a.stall.C:
			if a.now != nil { // with nothing pulled the caller has nothing to say
				a.hangUp(fmt.Errorf("stream %s: caller stalled for %v", r.Streams[a.now.stream].Name, n.s.o.Stall))
			}
		case f := <-a.frames:
			a.hear(f)
		}
	}
}

// An attention is a session while a deed is done.
type attention struct {
	n      *session
	cancel context.CancelCauseFunc
	now    *pull       // being fetched
	stall  *time.Timer // since the last frame of it
	frames <-chan frame
	lost   *lostError
}

// hangUp cancels the deed, which then has nobody to answer to.
func (a *attention) hangUp(why error) {
	a.lost = &lostError{why}
	a.frames = nil // nothing the caller says matters now
	a.cancel(why)
	if a.now != nil {
		a.now.answer(why)
		a.now = nil
	}
}

func (a *attention) pull(p *pull) {
	if err := a.n.ask(p); err != nil {
		p.answer(err)
		a.hangUp(err)
		return
	}
	a.now = p
	a.stall.Reset(a.n.s.o.Stall)
}

func (a *attention) hear(f frame) {
	if err := a.n.data(a.now, f); err != nil {
		a.hangUp(err)
	} else if a.now.answered {
		a.now = nil
	} else {
		a.stall.Reset(a.n.s.o.Stall)
	}
}

// answer sends what came of the request.
func (n *session) answer(r *request, result actuators.Result, err error) error {
	answer := response{ID: r.ID, OK: err == nil}
	if err != nil {
		answer.Error, answer.Code = clip(err.Error()), codeOf(err)
	}
	var body []byte
	if result != nil {
		body, err = json.Marshal(result)
		if err != nil || len(body) > resultBytes {
			answer = response{ID: r.ID, Code: failed, Error: "done, but the result cannot be told: too long, or not JSON"}
			body = nil
		}
	}
	if len(body) <= jsonBytes/4 {
		answer.Result, body = body, nil
	}
	answer.ResultBytes = len(body)
	if err := n.w.tell(responseFrame, answer); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	for len(body) > 0 {
		piece := copy(n.w.payload()[:pieceBytes], body)
		if err := n.w.write(bodyFrame, piece); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		body = body[piece:]
	}
	return nil
}

// do does the deed when its turn comes.
func (s *Server) do(ctx context.Context, r *request, streams []actuators.Stream) (actuators.Result, error) {
	if !s.aside(r.Verb) {
		select {
		case s.turn <- struct{}{}:
			defer func() { <-s.turn }()
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w with another deed", r.Verb, ErrBusy)
		}
	}
	if ctx.Err() != nil { // both were ready
		return nil, fmt.Errorf("%s: not begun: %w", r.Verb, context.Cause(ctx))
	}
	switch r.Verb {
	case verbsVerb:
		return s.verbs()
	case limitsVerb:
		return s.limits(), nil
	}
	ctx = actuators.WithReason(ctx, r.Reason)
	args, err := s.o.Set.Check(r.Verb, r.Args)
	if err != nil {
		return nil, err
	}
	return s.o.Set.Do(actuators.WithStreams(ctx, streams...), r.Verb, args)
}

// aside reports whether a verb is done beside others.
func (s *Server) aside(verb string) bool {
	v, err := s.o.Set.Lookup(verb)
	return err == nil && v.Aside
}

// Do does a deed on the server's own account, when its turn comes.
func (s *Server) Do(ctx context.Context, verb, reason string) error {
	_, err := s.do(ctx, &request{Verb: verb, Reason: reason}, nil)
	return err
}
