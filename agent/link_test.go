package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdfast/agent/spool"
	"holdfast/collectors"
)

func TestTelemetryArrivesWithoutAGap(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.pass(time.Hour)
		r.stop()
		if a := r.whole(); a.records < 360 || a.told > 0 || a.twice > 0 {
			t.Errorf("%+v", a)
		}
		value := 0.0
		for _, m := range r.heard("telemetry") {
			for _, s := range m["samples"].([]any) {
				now := s.(map[string]any)["fields"].(map[string]any)["busy_ratio"].(float64)
				if now != value+1 {
					t.Fatalf("reading %v after %v", now, value)
				}
				value = now
			}
		}
		status := r.heard("status")
		if status[0]["online"] != true || status[len(status)-1]["online"] != false {
			t.Errorf("status: %v", status)
		}
		all := r.broker.Heard()
		if last := all[len(all)-1]; !strings.HasSuffix(last.Topic, "/status") {
			t.Errorf("the last word is on %s, want status", last.Topic)
		}
	})
}

func TestTheLinkIsAwayForAnHour(t *testing.T) {
	live(t, func(r *rig) {
		r.start()
		r.pass(time.Minute)
		r.broker.Down()
		r.pass(time.Hour)
		before := len(r.heard("telemetry"))
		if s := r.status(); s.Link.Up || s.Link.Error == "" || s.Spool.Waiting < 300 || s.Spool.FlashBytes == 0 {
			t.Errorf("status while the link is away: %+v %+v", s.Link, s.Spool)
		}
		r.broker.Up()
		r.pass(time.Minute)
		if a := r.whole(); a.told > 0 || a.twice > 0 {
			t.Errorf("%+v", a)
		}
		if now := len(r.heard("telemetry")); now < before+360 {
			t.Errorf("%d records after the outage, %d before", now, before)
		}
		last := 0.0
		for _, m := range r.heard("telemetry") {
			if n := m["seq"].(float64); n <= last {
				t.Fatalf("record %v after %v", n, last)
			} else {
				last = n
			}
		}
		e := r.events("link")
		if len(e) != 1 || e[0]["down_seconds"].(float64) < 3590 || e[0]["reason"] == "" {
			t.Errorf("events of the outage: %v", e)
		}
		if s := r.status(); !s.Link.Up || s.Link.Reconnects != 1 || s.Spool.Waiting > 2 {
			t.Errorf("status after it: %+v %+v", s.Link, s.Spool)
		}
	})
}

func TestGapRecordsAccountForWhatASmallSpoolDrops(t *testing.T) {
	live(t, func(r *rig) {
		fat := strings.Repeat("x", 2000)
		r.parts.Sources = []collectors.Source{source{"log", func(_ context.Context, emit collectors.Emit) error {
			s := collectors.Sample{Source: "log"}
			emit(*s.Str("text", fat))
			return nil
		}}}
		r.parts.Policy.BatchBytes = 4 << 10
		r.parts.Spool = spool.Options{RecordBytes: 8 << 10, SegmentBytes: 16 << 10, RAMBytes: 20 << 10, LimitBytes: 160 << 10}
		r.start()
		r.pass(time.Minute)
		r.broker.Down()
		r.pass(3 * time.Hour)
		r.broker.Up()
		r.pass(time.Minute)
		r.stop()
		a := r.whole()
		if a.told < 500 {
			t.Errorf("a spool of 160 KiB kept all of 2 MB: %+v", a)
		}
		dropped := 0.0
		for _, g := range r.events("gap") {
			dropped += g["count"].(float64)
		}
		if int(dropped) < a.told {
			t.Errorf("gap records count %v, %d are gone", dropped, a.told)
		}
	})
}

func TestALinkThatComesAndGoesLosesNothing(t *testing.T) {
	live(t, func(r *rig) {
		r.parts.Settings.Period = time.Second
		r.broker.Delay(300 * time.Millisecond)
		r.start()
		for range 200 {
			r.pass(1700 * time.Millisecond)
			r.broker.Cut(device)
		}
		r.pass(time.Minute)
		r.stop()
		if a := r.whole(); a.told > 0 || a.records < 350 {
			t.Errorf("%+v", a)
		}
	})
}

func TestAStoppedAgentKeepsWhatIsNotDelivered(t *testing.T) {
	live(t, func(r *rig) {
		r.broker.Down()
		r.start()
		r.pass(30 * time.Second)
		r.stop()
		if n := len(r.broker.Heard()); n > 0 {
			t.Fatalf("%d messages heard by a broker that is down", n)
		}
		r.broker.Up()
		r.start()
		r.pass(20 * time.Second)
		r.stop()
		sessions := map[any]int{}
		for _, m := range r.heard("telemetry") {
			sessions[m["session"]]++
		}
		if a := r.whole(); len(sessions) != 2 || a.told > 0 {
			t.Errorf("records of sessions %v: %+v", sessions, a)
		}
	})
}

func TestADayPassesInASecond(t *testing.T) {
	live(t, func(r *rig) {
		r.parts.Settings.Digest, r.parts.Settings.Period = 2*time.Minute, 20*time.Second
		fed := 0
		r.parts.Progress = func() { fed++ }
		r.start()
		r.pass(24 * time.Hour)
		r.stop()
		if a := r.whole(); a.records < 700 || a.records > 740 || a.told > 0 {
			t.Errorf("%+v", a)
		}
		if fed < 8000 {
			t.Errorf("the watchdog was fed %d times in a day", fed)
		}
		s := r.heard("telemetry")[500]["samples"].([]any)[0].(map[string]any)["fields"].(map[string]any)
		if s["readings_count"] != 6.0 || s["busy_ratio_max"].(float64)-s["busy_ratio_min"].(float64) != 5 {
			t.Errorf("a window of two minutes: %v", s)
		}
	})
}

func TestWhatWasUnderWayWhenTheLinkBrokeIsSentAgain(t *testing.T) {
	live(t, func(r *rig) {
		r.parts.Settings.Period = time.Second
		r.start()
		r.pass(time.Minute)
		r.broker.Stall(true)
		r.pass(10 * time.Second)
		r.broker.Cut(device)
		r.broker.Stall(false)
		r.pass(time.Minute)
		if a, s := r.whole(), r.status(); a.told > 0 || a.records < 120 || s.Spool.Waiting > 3 {
			t.Errorf("%+v, waiting %d", a, s.Spool.Waiting)
		}
	})
}

func TestARecordTheSpoolCannotKeepIsToldOf(t *testing.T) {
	live(t, func(r *rig) {
		r.parts.Spool.RecordBytes = 2000
		r.start()
		wrong := make([]string, 50)
		for i := range wrong {
			wrong[i] = fmt.Sprintf(`"there is no such setting %d":1`, i)
		}
		r.desire(1, "{"+strings.Join(wrong, ",")+"}") // its event names every one
		r.pass(time.Minute)
		r.stop()
		gaps := r.events("gap")
		if len(gaps) != 1 || gaps[0]["class"] != "event" || !strings.Contains(gaps[0]["reason"].(string), "at most 2000") {
			t.Errorf("gaps: %v", gaps)
		}
		if a := r.whole(); a.told != 1 {
			t.Errorf("%+v", a)
		}
	})
}
