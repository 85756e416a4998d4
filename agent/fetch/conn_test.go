package fetch_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"holdfast/agent/fetch"
	"holdfast/agent/link/linktest"
)

func TestWhatIsAskedOfAServer(t *testing.T) {
	asked := make(chan string, 1)
	r := serve(t, func(_ *rogue, w net.Conn, q *http.Request) bool {
		user, password, _ := q.BasicAuth()
		asked <- fmt.Sprintf("%s %s %s user=%s:%s range=%q encoding=%q agent=%q fields=%d", q.Method, q.RequestURI, q.Proto, user,
			password, q.Header["Range"], q.Header["Accept-Encoding"], q.Header["User-Agent"], len(q.Header))
		_, err := io.WriteString(w, answer("404 Not Found", "Content-Length: 0\r\n", ""))
		return err == nil
	})
	for _, tt := range []struct {
		base, name string
		offset     int64
		want       string
	}{
		{"http://HOST", "f", 0, `GET /f HTTP/1.1 user=: range=[] encoding=["identity"] agent=["holdfast"] fields=2`},
		{"http://HOST/", "a/b+c", 0, `GET /a/b%2Bc HTTP/1.1 user=: range=[] encoding=["identity"] agent=["holdfast"] fields=2`},
		{"http://HOST/r/s/", "f", 5, `GET /r/s/f HTTP/1.1 user=: range=["bytes=5-"] encoding=["identity"] agent=["holdfast"] fields=3`},
		{"http://me:geheim@HOST/r?sig=a%2Fb&x", "f", 0, `GET /r/f?sig=a%2Fb&x HTTP/1.1 user=me:geheim range=[] encoding=["identity"] agent=["holdfast"] fields=3`},
	} {
		h := closing(t, client("", func(h *fetch.HTTP) { h.Base = strings.Replace(tt.base, "HOST", r.addr, 1) }))
		_, err := get(t.Context(), h, tt.name, tt.offset)
		if got := <-asked; got != tt.want {
			t.Errorf("asked %s\nwant  %s", got, tt.want)
		}
		if err == nil || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "sig") {
			t.Errorf("error %v", err)
		}
	}
}

func TestOneConnectionServesManyFiles(t *testing.T) {
	done := leaks(t)
	n := 0
	r := serve(t, func(_ *rogue, w net.Conn, _ *http.Request) bool {
		n++
		text := answer("200 OK", "Content-Length: 3\r\n", "012")
		switch n % 3 {
		case 1:
			text = answer("404 Not Found", "Content-Length: 12\r\n", "no such file")
		case 2:
			text = answer("302 Found", "Location: g\r\nContent-Length: 6\r\n", "moved!")
		}
		_, err := io.WriteString(w, text)
		return err == nil
	})
	h := client(r.addr, nil)
	for range 30 {
		get(t.Context(), h, "f", 0)
	}
	if got := r.connections(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	done(h, r)
}

func TestAConnectionThatHasMoreToSayIsNotUsedAgain(t *testing.T) {
	good := answer("200 OK", "Content-Length: 3\r\n", "012")
	for name, text := range map[string]string{
		"another answer":          good + answer("200 OK", "Content-Length: 3\r\n", "345"),
		"too many bytes":          good + "3",
		"its end":                 answer("200 OK", "Connection: close\r\nContent-Length: 3\r\n", "012"),
		"its end, of a refusal":   answer("404 No", "Connection: close\r\nContent-Length: 3\r\n", "012"),
		"its end, of nothing":     answer("404 No", "Connection: close\r\nContent-Length: 0\r\n", ""),
		"another protocol":        answer("101 Switching", "Upgrade: x\r\nConnection: upgrade\r\n", ""),
		"its end, as in HTTP/1.0": "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n012",
	} {
		r := serve(t, says(text))
		h := client(r.addr, nil)
		for range 3 {
			data, err := get(t.Context(), h, "f", 0)
			if good := strings.Contains(text, " 200 "); good && string(data) != "012" || good != (err == nil) {
				t.Errorf("%s: %q, %v", name, data, err)
			}
		}
		if n := r.connections(); n != 3 {
			t.Errorf("%s: %d connections, want 3", name, n)
		}
		h.Close()
		r.stop()
	}
}

// What a server says between two questions, and the rest of a file that was left, answer nothing.
func TestWhatComesLateOnAConnectionIsNoAnswer(t *testing.T) {
	for name, first := range map[string]string{
		"unasked":            answer("200 OK", "Content-Length: 3\r\n", "012"),
		"the rest of a file": answer("200 OK", "Content-Length: 9\r\n", "012"),
	} {
		t.Run(name, func(t *testing.T) {
			done := leaks(t)
			read, late := make(chan struct{}), make(chan struct{})
			r := serve(t, func(r *rogue, w net.Conn, _ *http.Request) bool {
				if r.connections() > 1 {
					_, err := io.WriteString(w, answer("200 OK", "Content-Length: 3\r\n", "new"))
					return err == nil
				}
				io.WriteString(w, first)
				select {
				case <-read:
				case <-r.done:
				}
				io.WriteString(w, answer("200 OK", "Content-Length: 3\r\n", "old"))
				close(late)
				<-r.done
				return false
			})
			h := client(r.addr, nil)
			f, err := h.Open(t.Context(), "f", 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(f, make([]byte, 3)); err != nil {
				t.Error(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			close(read)
			<-late
			if data, err := get(t.Context(), h, "f", 0); string(data) != "new" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
			done(h, r)
		})
	}
}

// A server may close what is idle while we ask.
func TestAnIdleConnectionThatEndsIsReplaced(t *testing.T) {
	asked := make(chan bool, 1)
	var n atomic.Int32
	r := serve(t, func(_ *rogue, w net.Conn, _ *http.Request) bool {
		if n.Add(1)%2 == 0 {
			asked <- true
			return false // unanswered
		}
		_, err := io.WriteString(w, answer("200 OK", "Content-Length: 3\r\n", "012"))
		return err == nil
	})
	h := closing(t, client(r.addr, nil))
	for i := range 3 {
		if data, err := get(t.Context(), h, "f", 0); string(data) != "012" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
		if i > 0 {
			<-asked
		}
	}
	if got := r.connections(); got != 3 {
		t.Errorf("%d connections, want 3", got)
	}
}

func TestConnectionsToManyHostsDoNotPileUp(t *testing.T) {
	done := leaks(t)
	front := (*rogue)(nil)
	var others []*rogue
	n := 0
	for range 20 {
		others = append(others, serve(t, says(answer("200 OK", "Content-Length: 3\r\n", "012"))))
	}
	front = serve(t, func(_ *rogue, w net.Conn, _ *http.Request) bool {
		n++
		_, err := io.WriteString(w, answer("302 Found", "Location: http://"+others[n%20].addr+"/\r\nContent-Length: 0\r\n", ""))
		return err == nil
	})
	serving := linktest.InUse()
	h := client(front.addr, nil)
	for range 20 {
		if _, err := get(t.Context(), h, "f", 0); err != nil {
			t.Fatal(err)
		}
	}
	// Two descriptors each, and a goroutine at the server's end. They would end in 15 s by themselves.
	most := linktest.Use{Goroutines: serving.Goroutines + 2, Descriptors: serving.Descriptors + 2*2}
	settle(t, most)
	for _, r := range others {
		r.stop()
	}
	done(h, front)
}

func TestAResetIsAnErrorAndNoEnd(t *testing.T) {
	for name, head := range map[string]string{
		"before the head":            "",
		"in a body":                  answer("200 OK", "Content-Length: 100\r\n", "01234"),
		"in a body without a length": answer("200 OK", "Connection: close\r\n", "01234"),
		"in chunks":                  answer("200 OK", "Transfer-Encoding: chunked\r\n", "5\r\n01234\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			done := leaks(t)
			seen := make(chan struct{})
			r := serve(t, func(r *rogue, w net.Conn, _ *http.Request) bool {
				io.WriteString(w, head)
				select { // what was sent before a reset may be lost with it
				case <-seen:
				case <-r.done:
				}
				w.(*net.TCPConn).SetLinger(0)
				return false
			})
			h := client(r.addr, nil)
			if head == "" {
				close(seen)
			}
			f, err := h.Open(t.Context(), "f", 0)
			if head != "" {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(f, make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
				close(seen)
				_, err = io.ReadFull(f, make([]byte, 1))
				f.Close()
				if err == nil || errors.Is(err, io.EOF) {
					t.Errorf("end of the file: %v", err)
				}
				contains(t, err, "at byte 5: ")
			} else {
				contains(t, err, "http://"+r.addr+"/releases/f: ")
			}
			done(h, r)
		})
	}
}

func TestAnEndlessBodyEndsWhereTheReaderEnds(t *testing.T) {
	done := leaks(t)
	zeros := make([]byte, 64<<10)
	r := serve(t, func(_ *rogue, w net.Conn, _ *http.Request) bool {
		_, err := io.WriteString(w, answer("200 OK", "", ""))
		for err == nil {
			_, err = w.Write(zeros)
		}
		return false
	})
	h := client(r.addr, nil)
	for _, offset := range []int64{0, 3 << 20} {
		if data, err := get(t.Context(), h, "f", offset); len(data) != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", len(data), err)
		}
	}
	done(h, r)
}

func TestReadingBehindTheEndAndAfterCloseIsRefused(t *testing.T) {
	r := serve(t, says(answer("200 OK", "Content-Length: 3\r\n", "012")))
	h := closing(t, client(r.addr, nil))
	f, err := h.Open(t.Context(), "f", 0)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Read(nil); n != 0 || err != nil {
		t.Errorf("a read of nothing: %d, %v", n, err)
	}
	if data, err := io.ReadAll(f); string(data) != "012" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
	f.Close()
	if f, err = h.Open(t.Context(), "f", 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, io.EOF) {
		t.Errorf("after Close: %d, %v", n, err)
	}
}

func TestAThousandBadAnswersLeaveNothingBehind(t *testing.T) {
	done := leaks(t)
	n := 0
	r := serve(t, func(_ *rogue, w net.Conn, _ *http.Request) bool {
		n++ // one after the other
		switch n % 4 {
		case 0:
			io.WriteString(w, answer("200 OK", "Content-Length: 10\r\n", "01234"))
			return false
		case 1:
			io.WriteString(w, answer("206 OK", "Content-Range: bytes 9-9/10\r\nContent-Length: 1\r\n", "9"))
		case 2:
			io.WriteString(w, answer("503 Busy", "Retry-After: 1\r\nContent-Length: 0\r\n", ""))
		case 3:
			io.WriteString(w, "garbage\r\n\r\n")
			return false
		}
		return true
	})
	h := client(r.addr, nil)
	for range 1000 {
		if _, err := get(t.Context(), h, "f", 1); err == nil {
			t.Fatal("a bad answer was taken")
		}
	}
	done(h, r)
}
