package wire_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"holdfast/agent/link/linktest"
	"holdfast/cmd/internal/wire"
)

// The whole from its configuration: the broker is connected to before the link is up, and its verdict is told.
func TestTheWayIsTriedAsConfigured(t *testing.T) {
	broker := linktest.Mochi(t, linktest.Config{})
	web, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer web.Close()
	heard := make(chan string, 64) // more than there are rounds
	go func() {
		for {
			c, err := web.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 256)
			n, _ := c.Read(buf)
			_, _ = c.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n")) // the test asks whether it came
			_ = c.Close()
			select {
			case heard <- string(buf[:n]):
			default:
			}
		}
	}()
	c := single(t, broker.URL(broker.Addr), "200ms")
	c.Probe.HTTP = []string{"http://" + web.Addr().String() + "/health?a=b"}
	c.StateDir, c.RunDir = filepath.Join(t.TempDir(), "state"), t.TempDir()
	r, err := wire.Run(wire.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar), Single: true, Started: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	linktest.Eventually(t, "what the probe says", broker.Next, said(broker, "telemetry", `"source":"probe"`, `"broker_ok":true`, `"http_ok":true`))
	linktest.Eventually(t, "the link in the counters", broker.Next, func() bool { return r.Counters().Linked })
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if got, want := <-heard, "HEAD /health?a=b HTTP/1.1\r\nHost: 127.0.0.1\r\n"; len(got) < len(want) || got[:len(want)] != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}
