package mqtt_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
)

// TestNothingAcknowledgedIsLost cuts the connection at random bytes in both directions while a device publishes.
// HOLDFAST_RECONNECTS sets the number of cuts, HOLDFAST_SEED repeats a run.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	for _, tt := range []struct {
		name   string
		start  func(*testing.T, linktest.Config) *linktest.Server
		pki    bool
		spread int64 // bytes: a handshake, a session and some records
	}{
		{"mosquitto over mutual TLS", linktest.Mosquitto, true, 12000},
		{"mochi", linktest.Mochi, false, 3000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := linktest.Config{}
			o := brisk()
			if tt.pki {
				config.PKI, config.ClientCert = linktest.NewPKI(t), true
				o.CAFile = config.PKI.CAFile
				o.CertFile, o.KeyFile = config.PKI.Issue(t, "dev", 24*time.Hour)
			}
			s := tt.start(t, config)
			p := linktest.NewProxy(t, s.Addr)
			o.Brokers = []string{s.URL(p.Addr)}
			o.Backoff.Max = o.Backoff.Min
			cut(t, s, p, tt.spread, func() link.Conn { return open(t, session(), o) })
		})
	}
}

func fromEnvironment(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// cut makes its half of the cuts, each within spread bytes of the last.
func cut(t *testing.T, s *linktest.Server, p *linktest.Proxy, spread int64, boot func() link.Conn) {
	n := int(fromEnvironment(t, "HOLDFAST_RECONNECTS", 200)) / 2
	seed := fromEnvironment(t, "HOLDFAST_SEED", rand.Uint64())
	t.Logf("HOLDFAST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	warm := linktest.Start(t, boot())
	warm.Up(t, 0)
	warm.Stop(t)
	before := linktest.Settled(t)

	conn := boot()
	d := linktest.Start(t, conn)
	ctx, stop := context.WithCancel(t.Context())
	var publishing sync.WaitGroup
	var acknowledged []string
	publishing.Go(func() { acknowledged = publish(ctx, conn) })
	for range n {
		mark := d.Mark()
		select {
		case <-p.CutAfter(random.Int64N(spread)):
		case <-time.After(time.Minute):
			t.Fatal("no byte passes any more")
		}
		d.Down(t, mark)
	}
	d.Up(t, 0)
	stop()
	publishing.Wait()
	d.Stop(t)
	linktest.Eventually(t, "every acknowledged record", s.Next, func() bool {
		return len(missing(acknowledged, s.Heard())) == 0
	})
	linktest.NoMoreThan(t, before)
	t.Logf("%d cuts, %d records acknowledged, none lost; in use before %+v, after %+v", n, len(acknowledged), before, linktest.InUse())
}

// publish hands over one record after the other, 16 at a time, each again until it is acknowledged, as the drain of a
// spool does.
func publish(ctx context.Context, conn link.Conn) (acknowledged []string) {
	type end struct {
		record string
		err    error
	}
	const window = 16
	ends := make(chan end, window)
	hand := func(record string) {
		conn.Publish(link.Message{Topic: "holdfast/dev/event", Payload: []byte(record), QoS: 1}, func(err error) {
			ends <- end{record, err}
		})
	}
	for i := range window {
		hand(fmt.Sprint("record-", i))
	}
	next, open := window, window
	for open > 0 {
		e := <-ends
		switch {
		case e.err == nil:
			acknowledged = append(acknowledged, e.record)
			e.record = fmt.Sprint("record-", next)
			next++
		case !errors.Is(e.err, link.ErrDown):
			panic(e.err)
		default:
			select { // down: as patient as the drain
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
		if ctx.Err() != nil {
			open--
			continue
		}
		hand(e.record)
	}
	return acknowledged
}

func missing(want []string, heard []link.Message) (lost []string) {
	seen := make(map[string]bool, len(heard))
	for _, m := range heard {
		seen[string(m.Payload)] = true
	}
	for _, record := range want {
		if !seen[record] {
			lost = append(lost, record)
		}
	}
	return lost
}
