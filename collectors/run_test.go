package collectors_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/board/boardtest"
	"holdfast/collectors"
)

// source is a source, or a stream, made of a function.
type source struct {
	name string
	do   func(ctx context.Context, emit collectors.Emit) error
}

func (s source) Name() string                                            { return s.name }
func (s source) Collect(ctx context.Context, emit collectors.Emit) error { return s.do(ctx, emit) }
func (s source) Stream(ctx context.Context, emit collectors.Emit) error  { return s.do(ctx, emit) }

func every(d time.Duration, s source) collectors.Schedule {
	return collectors.Schedule{Source: s, Period: d}
}

// steady is a source that is well.
func steady(name string) source {
	return source{name, func(_ context.Context, emit collectors.Emit) error {
		s := collectors.Sample{Source: name}
		emit(*s.Num("value", 1))
		return nil
	}}
}

// broken is a source that answers with an error.
func broken(name string, err error) source {
	return source{name, func(context.Context, collectors.Emit) error { return err }}
}

// a record is a sample with the time since the start.
type record struct {
	at time.Duration
	collectors.Sample
}

// take runs r for d and returns what it emitted. It fails the test when emit is called twice at a time.
func take(t *testing.T, d time.Duration, r collectors.Runner) []record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d-time.Millisecond)
	defer cancel()
	r.Clock = boardtest.Clock{}
	var inside atomic.Int32
	var out []record
	start := time.Now()
	err := r.Run(ctx, func(s collectors.Sample) {
		if inside.Add(1) != 1 {
			t.Error("emit called twice at a time")
		}
		out = append(out, record{s.Time.Sub(start), s})
		inside.Add(-1)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v, want the cause of the end", err)
	}
	return out
}

// times returns when the named source was heard.
func times(rs []record, source string) (at []time.Duration) {
	for _, r := range rs {
		if r.Source == source {
			at = append(at, r.at)
		}
	}
	return at
}

// states returns what was said about the named source, as "12s failing 1".
func states(rs []record, instance string) (out []string) {
	for _, r := range rs {
		if r.Source == "collector" && r.Instance == instance {
			for _, f := range r.Fields {
				if !slices.ContainsFunc(collectors.Measures(), func(m collectors.Measure) bool { return m.Field == f.Name }) {
					out = append(out, f.Name+" is not in the table")
				}
			}
			state, _ := r.Field("state")
			text, _ := state.Text()
			count, _ := r.Field("failures_count")
			n, _ := count.Number()
			out = append(out, fmt.Sprintf("%v %s %v", r.at, text, n))
		}
	}
	return out
}

func grid(n int, step time.Duration) (at []time.Duration) {
	for i := range n {
		at = append(at, time.Duration(i)*step)
	}
	return at
}

func TestADayOfSamplingHasNoDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := source{"slow", func(ctx context.Context, emit collectors.Emit) error {
			time.Sleep(700 * time.Millisecond) // takes its time at every reading
			return steady("slow").do(ctx, emit)
		}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := take(t, 24*time.Hour, collectors.Runner{Sources: []collectors.Schedule{
			every(10*time.Second, steady("ten")), every(time.Minute, steady("minute")), every(10*time.Second, slow), every(0, steady("never")),
		}})
		runtime.ReadMemStats(&after)
		if at := times(got, "ten"); !slices.Equal(at, grid(8640, 10*time.Second)) {
			t.Errorf("every 10 s: %d readings in a day, not 8640 on the grid", len(at))
		}
		if at := times(got, "minute"); !slices.Equal(at, grid(1440, time.Minute)) {
			t.Errorf("every minute: %d readings in a day, not 1440 on the grid", len(at))
		}
		at := times(got, "slow")
		for i := range at {
			at[i] -= 700 * time.Millisecond
		}
		if !slices.Equal(at, grid(8640, 10*time.Second)) {
			t.Errorf("every 10 s, slowly: %d readings in a day, not 8640 on the grid", len(at))
		}
		if len(times(got, "never"))+len(times(got, "collector")) != 0 {
			t.Error("something was said by a source that is off, or about one that is well")
		}
		readings := uint64(8640 + 1440 + 8640)
		t.Logf("%d allocations, %d bytes a reading, the source's and the test's included", (after.Mallocs-before.Mallocs)/readings, (after.TotalAlloc-before.TotalAlloc)/readings)
	})
}

func TestABrokenSourceStopsNobodyElse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		source source
		want   []string
		text   string // in the error
	}{
		{"failing", broken("it", errors.New("sensor: "+strings.Repeat("é", 150))), []string{"0s failing 1", "1m40s failing 11", "3m20s failing 21"}, "sensor: éé"},
		{"panicking", source{"it", func(context.Context, collectors.Emit) error { panic("index out of range") }},
			[]string{"0s failing 1", "1m40s failing 11", "3m20s failing 21"}, "panic: index out of range"},
		{"leaving its goroutine", source{"it", func(context.Context, collectors.Emit) error { runtime.Goexit(); return nil }},
			[]string{"0s failing 1", "1m40s failing 11", "3m20s failing 21"}, "left its goroutine"},
		{"hanging", source{"it", func(ctx context.Context, _ collectors.Emit) error { <-ctx.Done(); time.Sleep(time.Hour); return nil }},
			[]string{"5s hung 1", "1m40s hung 11", "3m20s hung 21"}, "longer"},
		{"slow but obedient", source{"it", func(ctx context.Context, _ collectors.Emit) error { <-ctx.Done(); return ctx.Err() }},
			[]string{"5s hung 1", "1m45s hung 11", "3m25s hung 21"}, "longer"},
		{"absent", broken("it", fmt.Errorf("thermal: %w", collectors.ErrNoData)), []string{"0s absent 0"}, "no data"},
		{"flooding", source{"it", func(_ context.Context, emit collectors.Emit) error {
			for range 5000 {
				emit(collectors.Sample{Source: "flood"})
			}
			return nil
		}}, []string{"0s failing 1", "1m40s failing 11", "3m20s failing 21"}, "4096"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := take(t, 5*time.Minute, collectors.Runner{Deadline: 5 * time.Second, Sources: []collectors.Schedule{
					every(10*time.Second, tt.source), every(time.Second, steady("well")),
				}})
				if at := times(got, "well"); !slices.Equal(at, grid(300, time.Second)) {
					t.Errorf("the other source was read %d times in 300 s", len(at))
				}
				if s := states(got, "it"); !slices.Equal(s, tt.want) {
					t.Errorf("states = %q, want %q", s, tt.want)
				}
				for _, r := range got {
					if text, has := r.Field("error"); has {
						s, _ := text.Text()
						if !strings.Contains(s, tt.text) || len(s) > 200 || !strings.HasSuffix(strings.ToValidUTF8(s, "?"), s[len(s)-1:]) {
							t.Errorf("error = %q (%d bytes), want %q in it", s, len(s), tt.text)
						}
					}
				}
				if n := len(times(got, "flood")); n > 4096*30 {
					t.Errorf("%d samples of a source that floods", n)
				}
				time.Sleep(2 * time.Hour) // nothing may be left in the bubble
			})
		})
	}
}

// A source may leave its samples late, or leave a goroutine behind that emits after Collect has returned.
func TestLateSamplesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, inside := 0, atomic.Int32{}
		late := source{"late", func(_ context.Context, emit collectors.Emit) error {
			if inside.Add(1) != 1 {
				t.Error("called again before it has returned")
			}
			defer inside.Add(-1)
			calls++
			emit(collectors.Sample{Source: "good", Instance: fmt.Sprint(calls)})
			if calls == 2 {
				time.Sleep(25 * time.Second)
				emit(collectors.Sample{Source: "bad"})
			}
			go func() {
				time.Sleep(time.Millisecond)
				emit(collectors.Sample{Source: "bad"})
				time.Sleep(10 * time.Second) // in the next reading
				emit(collectors.Sample{Source: "bad"})
			}()
			return nil
		}}
		got := take(t, time.Minute, collectors.Runner{Sources: []collectors.Schedule{every(10*time.Second, late)}})
		if n := len(times(got, "bad")); n != 0 {
			t.Errorf("%d late samples came through", n)
		}
		// The reading of 10 s hangs until 35 s; the one of 40 s is the next.
		if at := times(got, "good"); !slices.Equal(at, []time.Duration{0, 10 * time.Second, 40 * time.Second, 50 * time.Second}) {
			t.Errorf("readings at %v", at)
		}
		if s := states(got, "late"); !slices.Equal(s, []string{"20s hung 1", "40s ok 0"}) {
			t.Errorf("states = %q", s)
		}
		time.Sleep(time.Minute)
	})
}

func TestAnAbsentSourceIsAskedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := source{"usb", func(ctx context.Context, emit collectors.Emit) error {
			if calls++; calls <= 2 {
				return collectors.ErrNoData
			}
			return steady("usb").do(ctx, emit)
		}}
		got := take(t, 5*time.Minute, collectors.Runner{Sources: []collectors.Schedule{every(10*time.Second, s)}})
		if at := times(got, "usb"); at[0] != 200*time.Second || len(at) != 10 {
			t.Errorf("asked with success at %v, want from 200 s every 10 s", at)
		}
		if s := states(got, "usb"); !slices.Equal(s, []string{"0s absent 0", "3m20s ok 0"}) {
			t.Errorf("states = %q", s)
		}
	})
}

func TestASlowReceiverIsNoFaultOfTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		chatty := source{"chatty", func(_ context.Context, emit collectors.Emit) error {
			for range 3 {
				emit(collectors.Sample{Source: "chatty"})
			}
			return nil
		}}
		r := collectors.Runner{Clock: boardtest.Clock{}, Sources: []collectors.Schedule{every(10*time.Second, chatty)}}
		n := 0
		_ = r.Run(ctx, func(s collectors.Sample) {
			if n++; s.Source == "collector" {
				t.Errorf("said of the source: %v", s.Fields)
			}
			time.Sleep(7 * time.Second)
		})
		if n < 30 {
			t.Errorf("%d samples", n)
		}
	})
}

func TestSchedulesChangeWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		changes := make(chan []collectors.Schedule, 1)
		release := make(chan struct{})
		hangs := 0
		stuck := source{"stuck", func(context.Context, collectors.Emit) error { hangs++; <-release; return nil }}
		asked := 0
		missing := source{"missing", func(context.Context, collectors.Emit) error { asked++; return collectors.ErrNoData }}
		old, untouched := steady("old"), steady("untouched")
		go func() {
			time.Sleep(25 * time.Second)
			changes <- []collectors.Schedule{every(10*time.Second, untouched), every(2*time.Second, steady("faster")), every(4*time.Second, stuck), every(10*time.Second, missing),
				every(20*time.Second, steady("new")), every(14*time.Second, steady("off the grid"))}
			time.Sleep(20 * time.Second) // 45 s
			changes <- []collectors.Schedule{every(10*time.Second, untouched), every(10*time.Second, untouched), every(10*time.Second, missing), {Period: time.Second}}
			time.Sleep(10 * time.Second) // 55 s
			changes <- []collectors.Schedule{every(10*time.Second, untouched), every(10*time.Second, stuck)}
			time.Sleep(10 * time.Second) // 65 s
			close(release)
			close(changes)
		}()
		got := take(t, 90*time.Second, collectors.Runner{Changes: changes, Sources: []collectors.Schedule{
			every(10*time.Second, untouched), every(10*time.Second, old), every(10*time.Second, steady("faster")), every(10*time.Second, stuck), every(10*time.Second, missing),
		}})
		want := map[string][]time.Duration{
			"untouched": grid(9, 10*time.Second),
			"old":       grid(3, 10*time.Second),
			"faster":    append(grid(3, 10*time.Second), 25*time.Second),
			"new":       {25 * time.Second, 40 * time.Second},
			// 28 s would be on the grid, but so soon after the first reading it would say nothing new
			"off the grid": {25 * time.Second, 42 * time.Second},
		}
		for at := 26 * time.Second; at < 45*time.Second; at += 2 * time.Second {
			want["faster"] = append(want["faster"], at)
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if at := times(got, name); !slices.Equal(at, want[name]) {
				t.Errorf("%s read at %v, want %v", name, at, want[name])
			}
		}
		if asked != 1 {
			t.Errorf("the absent source was asked %d times: a new schedule disturbed it", asked)
		}
		// Still hung when it was switched on again at 55 s; let go at 65 s, and read well at 70 s and 80 s.
		if s := states(got, "stuck"); hangs != 3 || len(s) < 2 || s[0] != "10s hung 1" || s[len(s)-1] != "1m10s ok 0" {
			t.Errorf("stuck: called %d times, states %q", hangs, s)
		}
	})
}

func TestStreamsAreRestartedWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var starts []time.Duration
		start := time.Now()
		dying := source{"log", func(ctx context.Context, emit collectors.Emit) error {
			starts = append(starts, time.Since(start))
			switch n := len(starts); {
			case n < 9:
				return errors.New("journalctl: exit status 1")
			case n == 9:
				panic("nil map")
			case n == 10:
				emit(collectors.Sample{Source: "log"})
				time.Sleep(2 * time.Minute)
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		got := take(t, 20*time.Minute, collectors.Runner{Streams: []collectors.Stream{dying}, Sources: []collectors.Schedule{every(time.Minute, steady("well"))}})
		var pauses []time.Duration
		for i := range starts[1:] {
			pauses = append(pauses, (starts[i+1] - starts[i]).Round(time.Second))
		}
		s := time.Second
		if want := []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s, 121 * s}; !slices.Equal(pauses, want) {
			t.Errorf("pauses = %v, want %v", pauses, want)
		}
		want := []string{"0s failing 1", "4m3s ok 0", "6m3s failing 1", "6m14s ok 0"}
		if s := states(got, "log"); !slices.Equal(s, want) {
			t.Errorf("states = %q, want %q", s, want)
		}
		if len(times(got, "log")) != 1 || len(times(got, "well")) != 20 {
			t.Errorf("%d of the stream, %d of the source", len(times(got, "log")), len(times(got, "well")))
		}
	})
}
