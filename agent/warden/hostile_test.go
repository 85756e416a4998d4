package warden_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/actuators"
	"holdfast/agent/warden"
)

func frame(kind byte, payload string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(payload)))) + string(kind) + payload
}

const (
	hello    = 1
	request  = 2
	response = 3
	body     = 4
	pull     = 5
	data     = 6
)

func dataOf(stream, flag byte, offset uint64, bytes string) string {
	return string(stream) + string(flag) + string(binary.BigEndian.AppendUint64(nil, offset)) + bytes
}

func pullOf(stream byte, offset uint64, length uint32) string {
	return string(stream) + string(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, offset), length))
}

// A tape is a connection whose other end says what is on the tape, whatever it hears, and then nothing more.
type tape struct {
	net.Conn // a pipe's end, for its addresses alone
	say      *bytes.Reader
	heard    bytes.Buffer
	replace  bool // the request's id takes the place of nobody's
}

const nobody = "IIIIIIIIIIIIIIIIIIIIIIIIII"

func newTape(say []byte) *tape {
	end, _ := net.Pipe()
	return &tape{Conn: end, say: bytes.NewReader(say)}
}

func (c *tape) Read(b []byte) (int, error)       { return c.say.Read(b) }
func (c *tape) Close() error                     { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }
func (c *tape) Write(b []byte) (int, error) {
	var r struct{ ID string }
	if c.replace && c.heard.Len() == 0 && len(b) > 5 && json.Unmarshal(b[5:], &r) == nil {
		rest, _ := io.ReadAll(c.say)
		c.say = bytes.NewReader(bytes.ReplaceAll(rest, []byte(nobody), []byte(r.ID)))
	}
	return c.heard.Write(b)
}

// A reader of streams, which says how many bytes it got.
var reading = verb("read", func(ctx context.Context, _ args) (result, error) {
	n := 0
	for _, s := range actuators.Streams(ctx) {
		b := make([]byte, min(s.Bytes, 100_000))
		got, err := s.ReadAt(b, 0)
		if err != nil && err != io.EOF {
			return nil, err
		}
		n += got
	}
	return result{"n": n}, nil
})

const goodRequest = `{"id":"1","verb":"read","streams":[{"name":"s","bytes":6}]}`

func TestHostileFramesEndTheConnection(t *testing.T) {
	good := frame(request, goodRequest)
	for name, say := range map[string]string{
		"a kind that is none":     frame(9, ""),
		"a kind of the server's":  frame(response, `{"id":"1","ok":true}`),
		"a length of 4 GiB":       "\xff\xff\xff\xff\x02{}",
		"a request over 4 KiB":    "\x00\x00\x10\x01\x02" + strings.Repeat(" ", 4097),
		"not JSON":                frame(request, "read"),
		"a duplicate":             frame(request, `{"id":"1","verb":"read","verb":"write"}`),
		"another case":            frame(request, `{"ID":"1","verb":"read"}`),
		"an unknown field":        frame(request, `{"id":"1","verb":"read","root":true}`),
		"trailing bytes":          frame(request, `{"id":"1","verb":"read"}x`),
		"too deep":                frame(request, `{"id":"1","verb":"read","args":`+strings.Repeat(`[`, 20)+strings.Repeat(`]`, 20)+`}`),
		"no id":                   frame(request, `{"verb":"read"}`),
		"a long id":               frame(request, `{"verb":"read","id":"`+strings.Repeat("x", 65)+`"}`),
		"five streams":            frame(request, `{"id":"1","verb":"read","streams":[{"name":"a","bytes":1},{"name":"b","bytes":1},{"name":"c","bytes":1},{"name":"d","bytes":1},{"name":"e","bytes":1}]}`),
		"a stream twice":          frame(request, `{"id":"1","verb":"read","streams":[{"name":"a","bytes":1},{"name":"a","bytes":1}]}`),
		"a stream of less than 0": frame(request, `{"id":"1","verb":"read","streams":[{"name":"a","bytes":-1}]}`),
		"data that nobody asked":  frame(data, dataOf(0, 0, 0, "abcdef")),
		"a request during a deed": good + good,
		"data of another stream":  good + frame(data, dataOf(1, 0, 0, "abcdef")),
		"data of another place":   good + frame(data, dataOf(0, 0, 1, "abcde")),
		"more data than asked":    good + frame(data, dataOf(0, 0, 0, "abcdefg")),
		"empty data":              good + frame(data, dataOf(0, 0, 0, "")),
		"a flag that is none":     good + frame(data, dataOf(0, 3, 0, "abcdef")),
		"data without its head":   good + frame(data, "abc"),
		"data over a piece":       good + "\x00\x00\x10\x0b\x06" + strings.Repeat("x", 4107),
	} {
		s := warden.NewServer(warden.ServerOptions{Set: set(t, reading)})
		conn := newTape([]byte(say))
		err := s.ServeConn(t.Context(), conn)
		if strings.Contains(conn.heard.String(), `"ok":true`) || err == nil || !strings.Contains(err.Error(), "frame is not in order") {
			t.Errorf("%s: %v, answered %q", name, err, conn.heard.String())
		}
	}
}

// conversation is what a well-behaved caller says when it asks for reading.
var conversation = frame(request, goodRequest) + frame(data, dataOf(0, 0, 0, "abc")) + frame(data, dataOf(0, 0, 3, "def")) +
	frame(request, `{"id":"2","verb":"read","streams":[{"name":"s","bytes":9,"open":true}]}`) + frame(data, dataOf(0, 1, 0, "x")) +
	frame(request, `{"id":"3","verb":"read","streams":[{"name":"s","bytes":9}]}`) + frame(data, dataOf(0, 2, 0, "gone")) +
	frame(request, `{"id":"4","verb":"raed","args":{"a":[1,"b"]},"reason":"r","timeout_ms":5}`)

func TestAServerSurvivesEveryTruncation(t *testing.T) {
	for n := range len(conversation) + 1 {
		conn := newTape([]byte(conversation[:n]))
		s := warden.NewServer(warden.ServerOptions{Set: set(t, reading)})
		_ = s.ServeConn(t.Context(), conn)
		if answered := strings.Count(conn.heard.String(), `"ok":true`); answered > 2 || (n == 0 && answered > 0) {
			t.Fatalf("%d of %d bytes: %d deeds", n, len(conversation), answered)
		}
	}
}

// answers is what a well-behaved server says to that.
var answers = frame(hello, `{"protocol":1}`) + frame(pull, pullOf(0, 0, 3)) + frame(pull, pullOf(0, 3, 3)) +
	frame(response, `{"id":"`+nobody+`","ok":true,"result_bytes":11}`) + frame(body, `{"n":`) + frame(body, `12345}`)

func ask(conn *tape) (actuators.Result, error) {
	conn.replace = false // hello is not an answer to anything
	c := &warden.Client{Reach: -1, Dial: func(context.Context) (net.Conn, error) {
		conn.replace = true
		return conn, nil
	}}
	ctx := actuators.WithStreams(context.Background(), actuators.Stream{Name: "s", Bytes: 6, ReaderAt: strings.NewReader("abcdef")})
	return c.Do(ctx, "read", nil, "")
}

func TestAClientSurvivesEveryTruncation(t *testing.T) {
	greeted := len(frame(hello, `{"protocol":1}`))
	for n := range len(answers) {
		want := warden.ErrLost
		if n < greeted {
			want = warden.ErrUnreachable
		}
		if r, err := ask(newTape([]byte(answers[:n]))); !errors.Is(err, want) {
			t.Fatalf("%d of %d bytes: %v, %v; want %v", n, len(answers), r, err, want)
		}
	}
	if r, err := ask(newTape([]byte(answers))); err != nil || r["n"] != 12345.0 {
		t.Fatalf("whole: %v, %v", r, err)
	}
}

func TestHostileServersAreRefused(t *testing.T) {
	hi := frame(hello, `{"protocol":1}`)
	for name, say := range map[string]string{
		"another protocol":        frame(hello, `{"protocol":2}`),
		"no hello":                frame(response, `{"id":"x","ok":true}`),
		"another's answer":        hi + frame(response, `{"id":"x","ok":true}`),
		"a pull beyond the end":   hi + frame(pull, pullOf(0, 3, 4)),
		"a pull far beyond":       hi + frame(pull, pullOf(0, 1<<63, 1)),
		"a pull of no stream":     hi + frame(pull, pullOf(1, 0, 1)),
		"a pull of nothing":       hi + frame(pull, pullOf(0, 0, 0)),
		"a pull without its head": hi + frame(pull, "x"),
		"a huge result":           hi + frame(response, `{"id":"`+nobody+`","ok":true,"result_bytes":1000000000}`),
		"more than announced":     hi + frame(response, `{"id":"`+nobody+`","ok":true,"result_bytes":1}`) + frame(body, `{}`),
		"a result that is a list": hi + frame(response, `{"id":"`+nobody+`","ok":true,"result":[]}`),
		"a request":               hi + frame(request, goodRequest),
	} {
		want := "frame is not in order"
		if name == "a result that is a list" {
			want = "an object is wanted"
		}
		if r, err := ask(newTape([]byte(say))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

func FuzzFrameServer(f *testing.F) {
	f.Add([]byte(conversation))
	f.Add([]byte(frame(request, `{"id":"1","verb":"warden.verbs"}`) + frame(request, `{"id":"1","verb":"warden.limits"}`)))
	s := warden.NewServer(warden.ServerOptions{Set: set(f, reading)})
	f.Fuzz(func(t *testing.T, say []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		conn := newTape(say)
		_ = s.ServeConn(context.Background(), conn)
		runtime.ReadMemStats(&after)
		// Two frame buffers, what the deed itself reads into, and a small multiple of what was said.
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20+uint64(200*len(say)) {
			t.Fatalf("%d bytes made the server allocate %d", len(say), grown)
		}
	})
}

func FuzzFrameClient(f *testing.F) {
	f.Add([]byte(answers))
	f.Add([]byte(frame(hello, `{"protocol":1,"code":"busy"}`)))
	f.Add([]byte(frame(hello, `{"protocol":1}`) + frame(response, `{"id":"`+nobody+`","ok":false,"code":"limited","error":"no"}`)))
	f.Fuzz(func(t *testing.T, say []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = ask(newTape(say))
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20+uint64(200*len(say)) {
			t.Fatalf("%d bytes made the client allocate %d", len(say), grown)
		}
	})
}

// stalled dials the server, says the words, and then neither reads nor writes.
func stalled(t *testing.T, dial warden.Dial, words ...string) net.Conn {
	t.Helper()
	conn, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range words {
		if i == 0 {
			greeting := make([]byte, 5+len(`{"protocol":1}`))
			if _, err := io.ReadFull(conn, greeting); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.WriteString(conn, w); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

func TestAStalledClientHoldsNobodyUpForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := verb("late", func(ctx context.Context, a args) (result, error) {
			time.Sleep(40 * time.Second) // of the bubble's time: longer than a caller may be silent when it is asked
			return reading.Do(ctx, a)
		})
		c := serve(t, warden.ServerOptions{Conns: 1}, reading, late)
		c.Reach = 3 * time.Minute
		for _, tt := range []struct {
			name  string
			words []string
			hear  int // bytes it reads after its words
			most  time.Duration
		}{
			{"hears no hello", nil, 0, 10 * time.Second},
			{"asks nothing", []string{""}, 0, 30 * time.Second},
			{"stops within a head", []string{"\x00"}, 0, 30 * time.Second},
			{"stops within a frame", []string{frame(request, goodRequest)[:30]}, 0, 30 * time.Second},
			{"hears no pull", []string{frame(request, goodRequest)}, 0, 10 * time.Second},
			{"hears no answer", []string{frame(request, `{"id":"1","verb":"raed"}`)}, 0, 10 * time.Second},
			{"says no bytes", []string{frame(request, goodRequest)}, 5 + 13, 30 * time.Second},
			{"says no bytes until its own deadline", []string{frame(request, goodRequest[:len(goodRequest)-1]+`,"timeout_ms":5000}`)}, 5 + 13, 5 * time.Second},
			{"says no bytes to a late pull", []string{frame(request, strings.Replace(goodRequest, "read", "late", 1))}, 5 + 13, 70 * time.Second},
		} {
			synctest.Wait() // the last caller has left
			conn := stalled(t, c.Dial, tt.words...)
			if _, err := io.ReadFull(conn, make([]byte, tt.hear)); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			began := time.Now()
			if strings.Contains(tt.name, "late") {
				began = began.Add(-40 * time.Second)
			}
			if _, err := c.Do(t.Context(), "read", nil, ""); err != nil {
				t.Errorf("%s: the next caller: %v", tt.name, err)
			}
			if took := time.Since(began); took > tt.most+time.Second {
				t.Errorf("%s: the next caller waited for %v", tt.name, took)
			}
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s: the server goes on: %d, %v", tt.name, n, err)
			}
		}
	})
}

func TestASlowStreamIsNotAStalledOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, warden.ServerOptions{}, verb("slow", func(ctx context.Context, _ args) (result, error) {
			s := actuators.Streams(ctx)[0]
			for i := range int64(5) {
				time.Sleep(20 * time.Second)
				if _, err := s.ReadAt(make([]byte, 10_000), 10_000*i); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}))
		ctx := actuators.WithStreams(t.Context(), actuators.Stream{Name: "s", Bytes: 50_000, ReaderAt: slow{}})
		if _, err := c.Do(ctx, "slow", nil, ""); err != nil {
			t.Error(err)
		}
	})
}

type slow struct{}

func (slow) ReadAt(b []byte, _ int64) (int, error) { time.Sleep(25 * time.Second); return len(b), nil }

func TestMoreConnectionsThanAgreedAreToldSo(t *testing.T) {
	c := serve(t, warden.ServerOptions{Conns: 2}, reading)
	held := []net.Conn{stalled(t, c.Dial, ""), stalled(t, c.Dial, "")}
	c.Reach = -1
	if _, err := c.Do(t.Context(), "read", nil, ""); !errors.Is(err, warden.ErrBusy) {
		t.Errorf("the third: %v", err)
	}
	held[0].Close()
	c.Reach = time.Minute
	if _, err := c.Do(t.Context(), "read", nil, ""); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
}

func TestAStalledServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			say  string
			want error
			most time.Duration
		}{
			"says no hello":        {"", warden.ErrUnreachable, 12 * time.Second},
			"half a hello":         {frame(hello, `{"protocol":1}`)[:8], warden.ErrUnreachable, 12 * time.Second},
			"hears no request":     {frame(hello, `{"protocol":1}`), warden.ErrLost, 10*time.Minute + 11*time.Second},
			"half an answer":       {frame(hello, `{"protocol":1}`) + "\x00\x00", warden.ErrLost, 12 * time.Second},
			"announces and is off": {frame(hello, `{"protocol":1}`) + frame(response, `{"id":"`+nobody+`","ok":true,"result_bytes":9}`), warden.ErrLost, 12 * time.Second},
		} {
			near, far := net.Pipe()
			go func() {
				head, tail := tt.say, ""
				if cut := len(frame(hello, `{"protocol":1}`)); len(head) > cut {
					head, tail = head[:cut], head[cut:]
				}
				_, _ = io.WriteString(far, head)
				if tail != "" {
					b := make([]byte, 4096)
					n, _ := far.Read(b)
					var r struct{ ID string }
					_ = json.Unmarshal(b[5:n], &r)
					_, _ = io.WriteString(far, strings.ReplaceAll(tail, nobody, r.ID))
				}
			}()
			began := time.Now()
			c := &warden.Client{Dial: func(ctx context.Context) (net.Conn, error) {
				if near == nil {
					return nil, errors.New("only once")
				}
				conn := near
				near = nil
				return conn, nil
			}}
			_, err := c.Do(t.Context(), "read", nil, "")
			if took := time.Since(began); !errors.Is(err, tt.want) || took > tt.most {
				t.Errorf("%s: after %v: %v, want %v", name, took, err, tt.want)
			}
			far.Close()
		}
	})
}
