package fetch_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/agent/fetch"
)

// ranged is an answer of the bytes from 3 on.
func ranged(header string) string { return answer("206 Partial Content", header, "34567") }

var hostileAnswers = []struct {
	name   string
	offset int64
	says   string
	data   string // what is read all the same
	is     error  // what the error is, beside what it says
	want   string
}{
	// Lengths.
	{"more announced than sent", 0, answer("200 OK", "Connection: close\r\nContent-Length: 10\r\n", "01234"), "01234", io.ErrUnexpectedEOF, "at byte 5"},
	{"nothing of what was announced", 0, answer("200 OK", "Content-Length: 10\r\n", ""), "", io.ErrUnexpectedEOF, "at byte 0"},
	{"less announced than sent", 0, answer("200 OK", "Content-Length: 3\r\n", "0123456789"), "012", nil, ""},
	{"two lengths", 0, answer("200 OK", "Content-Length: 3\r\nContent-Length: 4\r\n", "0123"), "", nil, "Content-Length"},
	{"a negative length", 0, answer("200 OK", "Content-Length: -3\r\n", "0123"), "", nil, "Content-Length"},
	{"a length beyond counting", 0, answer("200 OK", "Content-Length: 99999999999999999999\r\n", "0123"), "", nil, "Content-Length"},

	// Ranges.
	{"a range from elsewhere", 3, ranged("Content-Range: bytes 4-8/10\r\nContent-Length: 5\r\n"), "", nil, "from byte 4, asked for 3"},
	{"a range from the beginning", 3, ranged("Content-Range: bytes 0-4/10\r\nContent-Length: 5\r\n"), "", nil, "from byte 0, asked for 3"},
	{"a total below the range", 3, ranged("Content-Range: bytes 3-7/7\r\nContent-Length: 5\r\n"), "", nil, `range "bytes 3-7/7"`},
	{"a range that ends before it begins", 3, ranged("Content-Range: bytes 3-2/10\r\n"), "", nil, `range "bytes 3-2/10"`},
	{"a length that is not the range's", 3, ranged("Content-Range: bytes 3-7/8\r\nContent-Length: 6\r\n"), "", nil, "6 bytes for the range"},
	{"a range without its place", 3, ranged("Content-Length: 5\r\n"), "", nil, "0 Content-Range"},
	{"two places", 3, ranged("Content-Range: bytes 3-7/8\r\nContent-Range: bytes 3-7/8\r\nContent-Length: 5\r\n"), "", nil, "2 Content-Range"},
	{"several ranges", 3, ranged("Content-Type: multipart/byteranges; boundary=x\r\nContent-Length: 5\r\n"), "", nil, "0 Content-Range"},
	{"a range of something else", 3, ranged("Content-Range: lines 3-7/8\r\nContent-Length: 5\r\n"), "", nil, `"lines 3-7/8"`},
	{"a range of no length", 3, ranged("Content-Range: bytes */8\r\nContent-Length: 5\r\n"), "", nil, `"bytes */8"`},
	{"a range nobody asked for", 0, ranged("Content-Range: bytes 0-4/5\r\nContent-Length: 5\r\n"), "", nil, "without one"},
	{"a range that is cut", 3, ranged("Content-Range: bytes 3-9/10\r\nConnection: close\r\n"), "34567", io.ErrUnexpectedEOF, "at byte 8 of 10"},
	{"a range shorter than the file", 3, ranged("Content-Range: bytes 3-7/10\r\nContent-Length: 5\r\n"), "34567", io.ErrUnexpectedEOF, "at byte 8 of 10"},
	{"a range of unknown total that is cut", 3, ranged("Content-Range: bytes 3-9/*\r\nConnection: close\r\n"), "34567", io.ErrUnexpectedEOF, "at byte 8 of 10"},
	{"a range in chunks that go on", 3, answer("206 OK", "Content-Range: bytes 3-7/8\r\nTransfer-Encoding: chunked\r\n", "9\r\n345678901\r\n0\r\n\r\n"), "34567", nil, ""},
	{"a range of unknown total", 3, ranged("Content-Range: bytes 3-7/*\r\nContent-Length: 5\r\n"), "34567", nil, ""},

	// No ranges.
	{"all of the file for a part", 3, answer("200 OK", "Content-Length: 8\r\n", "01234567"), "34567", nil, ""},
	{"all of a file that is shorter", 9, answer("200 OK", "Content-Length: 8\r\n", "01234567"), "", fetch.ErrBeyond, "from byte 9 of 8"},
	{"all of a file that turns out shorter", 9, answer("200 OK", "Connection: close\r\n", "01234567"), "", fetch.ErrBeyond, "from byte 9 of 8"},
	{"all of a file and less than the part", 9, answer("200 OK", "Content-Length: 20\r\n", "01234567"), "", io.ErrUnexpectedEOF, "at byte 8: "},
	{"too much to drop", 65 << 20, answer("200 OK", "Content-Length: 99999999999\r\n", "01234567"), "", nil, "serves no ranges"},
	{"416", 3, answer("416 Range Not Satisfiable", "Content-Range: bytes */3\r\n", ""), "", fetch.ErrBeyond, "from byte 3"},
	{"416 to no range", 0, answer("416 Range Not Satisfiable", "Content-Range: bytes */3\r\n", ""), "", nil, "answers 416"},

	// Encodings.
	{"gzip", 0, answer("200 OK", "Content-Encoding: gzip\r\nContent-Length: 3\r\n", "\x1f\x8b\x08"), "", nil, `encodes the file with "gzip"`},
	{"gzip behind nothing", 0, answer("200 OK", "Content-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n", "\x1f\x8b\x08"), "", nil, `"gzip"`},
	{"identity", 0, answer("200 OK", "Content-Encoding: identity\r\nContent-Length: 3\r\n", "012"), "012", nil, ""},
	{"gzip of a part", 3, ranged("Content-Encoding: gzip\r\nContent-Range: bytes 3-7/8\r\nContent-Length: 5\r\n"), "", nil, `"gzip"`},
	{"a transfer in gzip", 0, answer("200 OK", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "", nil, "transfer encoding"},

	// Statuses.
	{"404", 0, answer("404 Not Found", "Content-Length: 3\r\n", "no!"), "", agent.ErrAbsent, "404"},
	{"404 with more than is read", 0, answer("404 Not Found", "Content-Length: 1000000\r\n", "no!"), "", agent.ErrAbsent, "404"},
	{"410", 3, answer("410 Gone", "Content-Length: 0\r\n", ""), "", agent.ErrAbsent, "410"},
	{"403", 0, answer("403 "+padding, "Content-Length: 0\r\n", ""), "", nil, "answers 403 Forbidden"},
	{"304", 0, answer("304 Not Modified", "", ""), "", nil, "answers 304"},
	{"204", 0, answer("204 No Content", "", ""), "", nil, "answers 204"},
	{"a status of its own", 0, answer("799 \x1b[2Jx", "Content-Length: 0\r\n", ""), "", nil, "answers 799"},
	{"an upgrade", 0, answer("101 Switching Protocols", "Upgrade: x\r\nConnection: upgrade\r\n", "x"), "", nil, "answers 101"},

	// What is no HTTP.
	{"HTTP/0.9", 0, "<html>" + padding + padding + "\n<body>hello\n", "", nil, "malformed HTTP"},
	{"SSH", 0, "SSH-2.0-x\r\n", "", nil, "malformed HTTP"},
	{"zeros", 0, strings.Repeat("\x00", 5000) + "\n", "", nil, "malformed HTTP"},
	{"a header that is none", 0, "HTTP/1.1 200 OK\r\n" + padding + "\r\n\r\n", "", nil, "malformed"},
	{"nothing", 0, "", "", io.ErrUnexpectedEOF, "closed the connection"},
	{"half a head", 0, "HTTP/1.1 200 OK\r\nContent-Le", "", nil, "malformed"},

	// Chunks.
	{"chunks without a length", 0, answer("200 OK", "Transfer-Encoding: chunked\r\n", "what\r\n"), "", nil, "invalid byte in chunk length"},
	{"a chunk beyond counting", 0, answer("200 OK", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"), "", nil, "chunk length too large"},
	{"a chunk that is cut", 0, answer("200 OK", "Transfer-Encoding: chunked\r\n", "9\r\n01234"), "01234", io.ErrUnexpectedEOF, "at byte 5"},
	{"a chunk that goes on", 0, answer("200 OK", "Transfer-Encoding: chunked\r\n", "3\r\n0123456"), "012", nil, "malformed chunked encoding"},
	{"chunks without an end", 0, answer("200 OK", "Transfer-Encoding: chunked\r\n", "3\r\n012\r\n"), "012", io.ErrUnexpectedEOF, "at byte 3"},
	{"chunks that are all head", 0, answer("200 OK", "Transfer-Encoding: chunked\r\n", strings.Repeat("1;"+padding+"\r\nx\r\n", 100)), "*", nil, "chunk"},
	{"the head of a chunk that goes on", 0, answer("200 OK", "Transfer-Encoding: chunked\r\n", "1;"+strings.Repeat(padding, 100)), "", nil, "line too long"},
	{"a trailer that goes on", 0, answer("200 OK", "Transfer-Encoding: chunked\r\n", "1\r\n0\r\n0\r\n"+strings.Repeat("A: "+padding+"\r\n", 100)), "0", nil, "trailer"},

	// Heads.
	{"a head of one line that goes on", 0, answer("200 OK", "A: "+strings.Repeat(padding, 100)+"\r\n", ""), "", nil, "longer than 16384 bytes"},
	{"a head of many lines", 0, answer("200 OK", strings.Repeat("A: b\r\n", 10_000), ""), "", nil, "longer than 16384 bytes"},
	{"a status that goes on", 0, "HTTP/1.1 200 " + strings.Repeat(padding, 100), "", nil, "longer than 16384 bytes"},
	{"answers before the answer", 0, strings.Repeat(answer("103 Early Hints", "Link: </x>\r\n", ""), 10_000), "", nil, "more than 5 times 1xx"},
	{"long answers before the answer", 0, strings.Repeat(answer("103 Early Hints", "Link: "+strings.Repeat(padding, 15)+"\r\n", ""), 6), "", nil, "longer than 16384 bytes"},
	{"hints and an answer", 0, answer("103 Early Hints", "Link: </x>\r\n", "") + answer("200 OK", "Content-Length: 3\r\n", "012"), "012", nil, ""},
	{"HTTP/2.0", 0, "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\n012", "", nil, "answers in HTTP/2.0"},
}

func TestHostileAnswersEndInAnError(t *testing.T) {
	for _, tt := range hostileAnswers {
		t.Run(tt.name, func(t *testing.T) {
			done := leaks(t)
			r := serve(t, func(_ *rogue, w net.Conn, _ *http.Request) bool {
				io.WriteString(w, tt.says)
				w.(*net.TCPConn).CloseWrite() // everything arrives, and then the end
				_, _ = io.Copy(io.Discard, w)
				return false
			})
			h := client(r.addr, nil)
			data, err := get(t.Context(), h, "f", tt.offset)
			if tt.want == "" && tt.is == nil && err != nil {
				t.Errorf("error %v, want none", err)
			} else if tt.want != "" || tt.is != nil {
				contains(t, err, tt.want)
				contains(t, err, "http://"+r.addr+"/releases/f: ")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %q", err, tt.is)
			}
			if errors.Is(err, io.EOF) || (tt.is != agent.ErrAbsent) && errors.Is(err, agent.ErrAbsent) {
				t.Errorf("error %v may be taken for something else", err)
			}
			if string(data) != tt.data && tt.data != "*" {
				t.Errorf("read %q, want %q", data, tt.data)
			}
			done(h, r)
		})
	}
}

func TestRetryAfterIsToldAndBounded(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	const date = "Date: Wed, 25 Nov 2026 12:00:00 GMT\r\n"
	for _, tt := range []struct {
		status, header string
		trusted        bool
		want           time.Duration
		told           bool
	}{
		{"429 Too Many", "Retry-After: 17\r\n", true, 17 * time.Second, true},
		{"503 Busy", "Retry-After: 0\r\n", true, 0, true},
		{"503 Busy", "Retry-After: 86400\r\n", true, time.Hour, true},
		{"503 Busy", "Retry-After: 99999999999999999999999999\r\n", true, time.Hour, true},
		{"503 Busy", "Retry-After: -5\r\n", true, 0, false},
		{"503 Busy", "Retry-After: 5.5\r\n", true, 0, false},
		{"503 Busy", "Retry-After: soon\r\n", true, 0, false},
		{"503 Busy", "", true, 0, false},
		{"503 Busy", "Retry-After: Wed, 25 Nov 2026 12:01:00 GMT\r\n" + date, false, time.Minute, true},
		{"503 Busy", "Retry-After: Thu, 26 Nov 2026 12:01:00 GMT\r\n" + date, true, time.Hour, true},
		{"503 Busy", "Retry-After: Wed, 25 Nov 2026 11:00:00 GMT\r\n" + date, true, 0, true},
		{"503 Busy", "Retry-After: Wed, 25 Nov 2026 12:01:00 GMT\r\n", true, time.Minute, true},
		{"503 Busy", "Retry-After: Wed, 25 Nov 2026 12:01:00 GMT\r\n", false, 0, false},
		{"500 Oops", "Retry-After: 17\r\n", true, 0, false},
		{"404 Not Found", "Retry-After: 17\r\n", true, 0, false},
	} {
		r := serve(t, says(answer(tt.status, tt.header+"Content-Length: 0\r\n", "")))
		h := closing(t, client(r.addr, func(h *fetch.HTTP) {
			h.Clock = clock{now: func() time.Time { return now }, untrusted: !tt.trusted}
		}))
		_, err := get(t.Context(), h, "f", 0)
		after, told := fetch.RetryAfter(fmt.Errorf("update: %w", err))
		if err == nil || after != tt.want || told != tt.told {
			t.Errorf("%s %q: %v %t, want %v %t (%v)", tt.status, tt.header, after, told, tt.want, tt.told, err)
		}
	}
	if _, told := fetch.RetryAfter(nil); told {
		t.Error("no error tells of another attempt")
	}
}
