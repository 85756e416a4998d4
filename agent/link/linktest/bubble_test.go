package linktest_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
)

func TestMemoryBrokerWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := linktest.NewBroker()
		s := link.Plain{Device: "dev"}.Session()
		conn := b.Conn(s)
		d := linktest.Start(t, conn)
		d.Patience = time.Hour
		d.Up(t, 0)

		b.Delay(10 * time.Second)
		began := time.Now()
		if err := d.Publish(t, link.Message{Topic: "holdfast/dev/event", Payload: []byte("slow"), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("acknowledged after %s, want the delay of 10s", took)
		}

		b.Delay(0)
		b.Stall(true)
		ended := make(chan error, 1)
		conn.Publish(link.Message{Topic: "holdfast/dev/event", Payload: []byte("stuck"), QoS: 1}, func(err error) { ended <- err })
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(ended) > 0 {
			t.Error("a stalled broker acknowledged")
		}
		b.Cut("dev")
		if err := <-ended; !errors.Is(err, link.ErrDown) {
			t.Errorf("lost publication ended with %v", err)
		}
		if w, kept := b.Retained("holdfast/dev/status"); !kept || string(w.Payload) != `{"online":false}` {
			t.Errorf("will kept: %t %s", kept, w.Payload)
		}
		b.Stall(false)

		b.Down()
		time.Sleep(time.Hour)
		synctest.Wait()
		if ids := b.Connected(); len(ids) > 0 {
			t.Errorf("connected to a broker that is down: %v", ids)
		}
		b.Publish(link.Message{Topic: "holdfast/dev/command", Payload: []byte("kept"), QoS: 1})
		mark := d.Mark()
		b.Up()
		if up := d.Up(t, mark); !up.Resumed {
			t.Error("the session was not resumed")
		}
		d.Message(t, mark, "kept")
		for _, p := range b.Heard() {
			if string(p.Payload) == "stuck" {
				t.Error("a publication that was never taken was heard")
			}
		}
		d.Stop(t)
	})
}
