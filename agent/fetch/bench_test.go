package fetch_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"holdfast/agent/fetch"
)

// One download of 32 MiB over loopback, read in 32 KiB.
func BenchmarkDownload(b *testing.B) {
	const bytes = 32 << 20
	chunk := make([]byte, 256<<10)
	r := serve(b, func(_ *rogue, w net.Conn, _ *http.Request) bool {
		_, err := io.WriteString(w, answer("200 OK", fmt.Sprintf("Content-Length: %d\r\n", bytes), ""))
		for sent := 0; sent < bytes && err == nil; sent += len(chunk) {
			_, err = w.Write(chunk)
		}
		return err == nil
	})
	h := &fetch.HTTP{Base: "http://" + r.addr, Options: fetch.Options{Clock: clock{}, Stall: time.Minute}}
	defer h.Close()
	p := make([]byte, 32<<10)
	b.SetBytes(bytes)
	b.ReportAllocs()
	for b.Loop() {
		f, err := h.Open(b.Context(), "f", 0)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, f, p)
		if err != nil || n != bytes {
			b.Fatal(n, err)
		}
		f.Close()
	}
}
