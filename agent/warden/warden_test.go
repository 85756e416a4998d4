package warden_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/actuators"
	"holdfast/agent/warden"
	"holdfast/board/boardtest"
	"holdfast/update"
)

type (
	args   = actuators.Args
	result = actuators.Result
	deed   = func(context.Context, args) (result, error)
)

func verb(name string, do deed, params ...actuators.Param) actuators.Verb {
	return actuators.Verb{Name: name, Params: params, Do: do}
}

func text(name string) actuators.Param {
	return actuators.Param{Name: name, Kind: actuators.Text, Max: 4096}
}

func set(t testing.TB, verbs ...actuators.Verb) *actuators.Set {
	t.Helper()
	o := actuators.Options{Clock: boardtest.Clock{}}
	for _, v := range verbs {
		if v.Name != "denied" {
			o.Allow = append(o.Allow, v.Name)
		}
	}
	s, err := actuators.NewSet(o, verbs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve runs a server over a pipe until the test ends, and returns its client.
func serve(t testing.TB, o warden.ServerOptions, verbs ...actuators.Verb) *warden.Client {
	t.Helper()
	o.Set = set(t, verbs...)
	ln, dial := warden.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := warden.NewServer(o).Serve(ctx, ln); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
	return &warden.Client{Dial: dial}
}

func TestADeedIsAskedForDoneAndAnswered(t *testing.T) {
	c := serve(t, warden.ServerOptions{}, verb("echo", func(ctx context.Context, a args) (result, error) {
		return result{"said": a.Text("say"), "why": actuators.Reason(ctx), "n": 3}, nil
	}, text("say")))
	got, err := c.Do(t.Context(), "echo", args{"say": "<hello> \u2028"}, "command 5")
	if want := (result{"said": "<hello> \u2028", "why": "command 5", "n": 3.0}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	var fail error
	c := serve(t, warden.ServerOptions{},
		verb("fail", func(context.Context, args) (result, error) { return result{"so far": 1}, fail }, text("x")),
		verb("denied", func(context.Context, args) (result, error) { return nil, nil }))
	for _, want := range []error{actuators.ErrLimited, actuators.ErrLocked, actuators.ErrDenied, context.DeadlineExceeded} {
		fail = fmt.Errorf("pump: %w: 3 s more", want)
		r, err := c.Do(t.Context(), "fail", nil, "")
		if !errors.Is(err, want) || err.Error() != fail.Error() || r["so far"] != 1.0 {
			t.Errorf("%v, %v; want %v", r, err, fail)
		}
	}
	fail = errors.New(strings.Repeat("long \x01", 1000))
	if _, err := c.Do(t.Context(), "fail", nil, ""); err == nil || len(err.Error()) > 500 || errors.Is(err, warden.ErrLost) {
		t.Errorf("a long error: %v", err)
	}
	if _, err := c.Do(t.Context(), "denied", nil, ""); !errors.Is(err, actuators.ErrDenied) {
		t.Errorf("denied: %v", err)
	}
	if _, err := c.Do(t.Context(), "fial", nil, ""); !errors.Is(err, actuators.ErrUnknown) || !strings.Contains(err.Error(), `mean "fail"`) {
		t.Errorf("unknown: %v", err)
	}
	if _, err := c.Do(t.Context(), "fail", args{"x": 1.0}, ""); !errors.Is(err, actuators.ErrInvalid) {
		t.Errorf("a wrong type: %v", err)
	}
	if _, err := c.Do(t.Context(), "fail", args{"x": strings.Repeat("y", 4080)}, ""); !errors.Is(err, actuators.ErrInvalid) {
		t.Errorf("more than a frame: %v", err)
	}
}

func TestALongResultComesInParts(t *testing.T) {
	var long string
	c := serve(t, warden.ServerOptions{}, verb("long", func(context.Context, args) (result, error) { return result{"output": long}, nil }))
	for _, n := range []int{0, 1000, 1020, 4090, 4096, 8192, 32 << 10, 250 << 10} {
		long = strings.Repeat("x", n)
		if r, err := c.Do(t.Context(), "long", nil, ""); err != nil || r["output"] != long {
			t.Errorf("%d bytes: %d came, %v", n, len(fmt.Sprint(r["output"])), err)
		}
	}
	long = strings.Repeat("x", 256<<10)
	if _, err := c.Do(t.Context(), "long", nil, ""); err == nil || !strings.Contains(err.Error(), "done, but the result cannot be told") {
		t.Errorf("too long: %v", err)
	}
}

func pattern(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestStreamsArePulledAsTheDeedReads(t *testing.T) {
	patch, list := pattern(1<<20+333), pattern(77)
	c := serve(t, warden.ServerOptions{}, verb("apply", func(ctx context.Context, _ args) (result, error) {
		s := actuators.Streams(ctx)
		if len(s) != 3 || s[0].Name != "patch" || s[0].Bytes != int64(len(patch)) || !s[1].Open {
			return nil, fmt.Errorf("streams %v", s)
		}
		all, err := io.ReadAll(io.NewSectionReader(s[0], 0, s[0].Bytes))
		if err != nil || !bytes.Equal(all, patch) {
			return nil, fmt.Errorf("patch: %d bytes, %w", len(all), err)
		}
		middle := make([]byte, 200_000)
		if n, err := s[0].ReadAt(middle, 500_001); n != len(middle) || err != nil || !bytes.Equal(middle, patch[500_001:700_001]) {
			return nil, fmt.Errorf("middle: %d bytes, %w", n, err)
		}
		if n, err := s[0].ReadAt(middle, s[0].Bytes-10); n != 10 || err != io.EOF {
			return nil, fmt.Errorf("end: %d bytes, %w", n, err)
		}
		all, err = io.ReadAll(io.NewSectionReader(s[1], 0, s[1].Bytes))
		if err != nil || !bytes.Equal(all, list) {
			return nil, fmt.Errorf("list: %d bytes, %w", len(all), err)
		}
		n, err := s[2].ReadAt(middle[:100], 0)
		return result{"n": n, "short": fmt.Sprint(err)}, nil
	}))
	ctx := actuators.WithStreams(t.Context(),
		actuators.Stream{Name: "patch", Bytes: int64(len(patch)), ReaderAt: bytes.NewReader(patch)},
		actuators.Stream{Name: "list", Bytes: 1 << 30, Open: true, ReaderAt: bytes.NewReader(list)},
		actuators.Stream{Name: "short", Bytes: 100, ReaderAt: bytes.NewReader(list)})
	r, err := c.Do(ctx, "apply", nil, "")
	if err != nil || r["n"] != 77.0 || r["short"] != "caller's stream ends after 77 of 100 bytes: unexpected EOF" {
		t.Errorf("%v, %v", r, err)
	}
}

type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, errors.New("disk is gone") }

func TestAStreamThatCannotBeReadFailsTheDeedOnly(t *testing.T) {
	c := serve(t, warden.ServerOptions{}, verb("read", func(ctx context.Context, _ args) (result, error) {
		_, err := actuators.Streams(ctx)[0].ReadAt(make([]byte, 10), 0)
		return nil, err
	}))
	ctx := actuators.WithStreams(t.Context(), actuators.Stream{Name: "x", Bytes: 10, ReaderAt: unreadable{}})
	if _, err := c.Do(ctx, "read", nil, ""); err == nil || err.Error() != "caller's stream: disk is gone" {
		t.Errorf("error %v", err)
	}
}

func TestDeedsAreDoneOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside, most, total atomic.Int32
		c := serve(t, warden.ServerOptions{Conns: 64}, verb("work", func(context.Context, args) (result, error) {
			most.Store(max(most.Load(), inside.Add(1)))
			total.Add(1)
			time.Sleep(time.Second) // of the bubble's time
			inside.Add(-1)
			return nil, nil
		}))
		var wg sync.WaitGroup
		for range 60 {
			wg.Go(func() {
				if _, err := c.Do(t.Context(), "work", nil, ""); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most.Load() != 1 || total.Load() != 60 {
			t.Errorf("%d at once, %d in all", most.Load(), total.Load())
		}
	})
}

func TestACallerWhoGivesUpCancelsTheDeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, ended := make(chan struct{}, 1), make(chan error, 1)
		c := serve(t, warden.ServerOptions{}, verb("wait", func(ctx context.Context, _ args) (result, error) {
			begun <- struct{}{}
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return nil, ctx.Err()
		}))
		ctx, stop := context.WithCancel(t.Context())
		go func() { <-begun; stop() }()
		if _, err := c.Do(ctx, "wait", nil, ""); !errors.Is(err, context.Canceled) || !errors.Is(err, warden.ErrLost) {
			t.Errorf("Do = %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the deed ended with %v", err)
		}
		// The next one is served, and a deadline crosses the wire.
		began := time.Now()
		ctx, stop = context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if _, err := c.Do(ctx, "wait", nil, ""); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 61*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		<-begun
		<-ended
	})
}

func TestTheServersEndEndsTheDeedAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, dial := warden.Pipe()
		begun := make(chan struct{})
		s := warden.NewServer(warden.ServerOptions{Set: set(t, verb("wait", func(ctx context.Context, _ args) (result, error) {
			close(begun)
			<-ctx.Done()
			return nil, ctx.Err()
		}))})
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error)
		go func() { served <- s.Serve(ctx, ln) }()
		go func() { <-begun; stop() }()
		c := &warden.Client{Dial: dial}
		if _, err := c.Do(t.Context(), "wait", nil, ""); !errors.Is(err, context.Canceled) || errors.Is(err, warden.ErrLost) {
			t.Errorf("Do = %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		began := time.Now()
		if _, err := c.Do(t.Context(), "wait", nil, ""); !errors.Is(err, warden.ErrUnreachable) || time.Since(began) > 11*time.Second {
			t.Errorf("without a server, after %v: %v", time.Since(began), err)
		}
	})
}

func TestAnIdleServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, dial := warden.Pipe()
		s := warden.NewServer(warden.ServerOptions{Idle: 30 * time.Second, Set: set(t, verb("work", func(context.Context, args) (result, error) {
			time.Sleep(2 * time.Minute) // of the bubble's time
			return nil, nil
		}))})
		served := make(chan error, 1)
		began := time.Now()
		go func() { served <- s.Serve(t.Context(), ln) }()
		time.Sleep(20 * time.Second)
		if _, err := (&warden.Client{Dial: dial}).Do(t.Context(), "work", nil, ""); err != nil {
			t.Errorf("Do = %v", err)
		}
		if err := <-served; err != nil || time.Since(began) != 170*time.Second {
			t.Errorf("Serve = %v after %v, want 20 s + 2 min + 30 s", err, time.Since(began))
		}
	})
}

func TestVerbsAndLimitsAreTold(t *testing.T) {
	v := verb("v", func(_ context.Context, a args) (result, error) { return result{"x": a.Text("x")}, nil }, text("x"))
	v.Class, v.Destructive, v.Params[0].Choices = actuators.Reboot, true, []string{"a", "b"}
	c := serve(t, warden.ServerOptions{}, v, verb("denied", v.Do))
	verbs, err := c.Verbs(t.Context())
	if err != nil || len(verbs) != 1 {
		t.Fatalf("%v, %v", verbs, err)
	}
	got := verbs[0]
	if !reflect.DeepEqual(got.Params, v.Params) || got.Class != v.Class || !got.Destructive {
		t.Errorf("told of %+v, want %+v", got, v)
	}
	s := set(t, verbs...)
	if r, err := s.Do(t.Context(), "v", args{"x": "b"}); err != nil || r["x"] != "b" {
		t.Errorf("through a set at this end: %v, %v", r, err)
	}
	if left, fault, err := c.Limits(t.Context()); err != nil || len(left) != 0 || fault != "" {
		t.Errorf("Limits = %v, %q, %v", left, fault, err)
	}
}

// A store is board.Files in memory; what was written is there for the next server.
type store map[string][]byte

func (s store) ReadFile(name string, _ int64) ([]byte, error) {
	if doc, ok := s[name]; ok {
		return doc, nil
	}
	return nil, fs.ErrNotExist
}
func (s store) WriteFile(name string, doc []byte) error { s[name] = bytes.Clone(doc); return nil }
func (s store) Remove(name string) error                { delete(s, name); return nil }

func TestLimitsHoldAcrossServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, reboots := store{}, 0
		reboot := verb("reboot", func(context.Context, args) (result, error) { reboots++; return nil, nil })
		reboot.Class = actuators.Reboot
		var last error
		for i := range 8 { // the caller always asks; each server has a life of its own
			limiter, err := actuators.NewLimiter(files, boardtest.Clock{}, func() (string, time.Duration) { return fmt.Sprint("boot ", i), time.Second })
			if err != nil {
				t.Fatal(err)
			}
			s, err := actuators.NewSet(actuators.Options{Allow: []string{"reboot"}, Clock: boardtest.Clock{}, Limiter: limiter}, reboot)
			if err != nil {
				t.Fatal(err)
			}
			ln, dial := warden.Pipe()
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error)
			go func() { served <- warden.NewServer(warden.ServerOptions{Set: s, Limiter: limiter}).Serve(ctx, ln) }()
			c := &warden.Client{Dial: dial}
			_, last = c.Do(t.Context(), "reboot", nil, "")
			left, fault, err := c.Limits(t.Context())
			if want := max(0, 2-i); left[actuators.Reboot].Deeds != want || fault != "" || err != nil {
				t.Errorf("server %d: %v, %q, %v; want %d reboots left", i, left, fault, err, want)
			}
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		}
		if reboots != 3 || !errors.Is(last, actuators.ErrLimited) {
			t.Errorf("%d reboots, the last error %v", reboots, last)
		}
	})
}

func TestGoingBackCountsAsARestart(t *testing.T) {
	v := warden.RollbackVerb(map[string]*update.Engine{"system": nil, "content": nil})
	if v.Class != actuators.Reboot || v.Aside || !v.Destructive || !slices.Equal(v.Params[0].Choices, []string{"content", "system"}) {
		t.Errorf("%+v", v)
	}
	if _, err := v.Do(t.Context(), actuators.Args{"kind": "system"}); !errors.Is(err, actuators.ErrInvalid) {
		t.Errorf("of nothing: %v", err)
	}
	for _, other := range warden.UpdateVerbs(nil) {
		if other.Name == v.Name {
			t.Error("whoever may ask for updates may ask for it")
		}
	}
}
