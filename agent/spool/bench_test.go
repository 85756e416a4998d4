package spool_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"holdfast/agent/spool"
	"holdfast/board/linux"
	"holdfast/board/sim"
)

// typical fills a spool that is offline as a device does: telemetry of 1 to 2 KB every 10 s, an event every 10 minutes.
func typical(t testing.TB, s *spool.Spool, bytes int64) (payload int64) {
	t.Helper()
	s.Link(start, false)
	for i := 0; payload < bytes; i++ {
		now := start.Add(time.Duration(i+7) * 10 * time.Second)
		r := rec(spool.Telemetry, i, 1000+(i*37)%1000)
		if i%60 == 59 {
			r = rec(spool.Event, i, 400)
		}
		must(t, s.Put(now, r))
		s.Tick(now)
		payload += int64(len(r.Payload))
	}
	must(t, s.Close(start.Add(10*365*24*time.Hour)))
	return payload
}

func TestOfflineWritesAtMostATenthMoreThanThePayload(t *testing.T) {
	d := sim.NewDisk(1)
	s := opened(t, d.Dir("spool"), spool.Options{})
	payload := typical(t, s, 8<<20)
	ratio := float64(d.Written()) / float64(payload)
	t.Logf("%d bytes of payload, %d given to the file system: %.3f, %d syncs", payload, d.Written(), ratio, s.Stats().Syncs)
	if ratio > 1.1 {
		t.Errorf("%.3f bytes written for each of payload, want at most 1.1", ratio)
	}
}

func BenchmarkOfflineWrites(b *testing.B) {
	for b.Loop() {
		d := sim.NewDisk(1)
		payload := typical(b, opened(b, d.Dir("spool"), spool.Options{}), 8<<20)
		b.ReportMetric(float64(d.Written())/float64(payload), "written/payload")
	}
}

func BenchmarkPutNextDone(b *testing.B) {
	for _, class := range []spool.Class{spool.Event, spool.Telemetry} {
		b.Run(fmt.Sprint(class), func(b *testing.B) {
			dir, err := linux.NewDir(b.TempDir() + "/spool")
			must(b, err)
			s := opened(b, dir, spool.Options{})
			s.Link(start, true)
			payload := bytes.Repeat([]byte("x"), 1500)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				now := start.Add(time.Duration(i) * time.Second)
				must(b, s.Put(now, spool.Record{Class: class, Session: session, Seq: uint64(i), Payload: payload}))
				es, err := s.Next(10)
				must(b, err)
				for _, e := range es {
					s.Done(e.ID)
				}
			}
		})
	}
}

func BenchmarkRecover64MB(b *testing.B) {
	dir, err := linux.NewDir(b.TempDir() + "/spool")
	must(b, err)
	o := spool.Options{LimitBytes: 80 << 20, RAMBytes: 1 << 20}
	typical(b, opened(b, dir, o), 64<<20)
	b.ReportAllocs()
	records := 0
	for b.Loop() {
		s, r, err := spool.Open(dir, o)
		must(b, err)
		if records = r.Records; records < 40_000 || s.Stats().Degraded != "" {
			b.Fatalf("%+v", r)
		}
	}
	b.ReportMetric(float64(records), "records")
}

func BenchmarkDrain(b *testing.B) {
	o := spool.Options{LimitBytes: 80 << 20}
	full := sim.NewDisk(1)
	typical(b, opened(b, full.Dir("spool"), o), 16<<20)
	b.SetBytes(16 << 20)
	for b.Loop() {
		s := opened(b, full.Clone().Dir("spool"), o)
		if n := len(drain(b, s)); n < 10_000 {
			b.Fatal(n)
		}
	}
}
