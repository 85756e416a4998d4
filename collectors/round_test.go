package collectors_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/board/boardtest"
	"holdfast/collectors"
)

// taking is a source whose reading takes so long, or until it is given up.
func taking(name string, d time.Duration) source {
	return source{name, func(ctx context.Context, emit collectors.Emit) error {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
		emit(collectors.Sample{Source: name})
		return nil
	}}
}

func TestARoundIsOverWhenItsReadingsAreOrTheNextBegin(t *testing.T) {
	seconds := func(n ...int) (all []time.Duration) {
		for _, s := range n {
			all = append(all, time.Duration(s)*time.Second)
		}
		return all
	}
	for _, tt := range []struct {
		name    string
		sources []collectors.Schedule
		rounds  []time.Duration
	}{
		{"at once", []collectors.Schedule{every(10*time.Second, steady("a")), every(10*time.Second, steady("b"))}, seconds(0, 10, 20)},
		{"one takes a while", []collectors.Schedule{every(10*time.Second, steady("a")), every(10*time.Second, taking("slow", 3*time.Second))}, seconds(3, 13, 23)},
		{"the others do not wait for it", []collectors.Schedule{every(2*time.Second, steady("a")), every(10*time.Second, taking("slow", 5*time.Second))},
			seconds(2, 4, 5, 6, 8, 12, 14, 15, 16, 18, 22, 24, 25)},
		{"one hangs", []collectors.Schedule{every(10*time.Second, steady("a")), every(30*time.Second, taking("hung", time.Hour))}, seconds(10, 10, 20)},
		{"nothing is read", nil, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []time.Duration
			ctx, cancel := context.WithTimeout(t.Context(), 25500*time.Millisecond)
			defer cancel()
			start, samples := time.Now(), 0
			r := collectors.Runner{Clock: boardtest.Clock{}, Sources: tt.sources, Round: func() {
				if samples == 0 {
					t.Errorf("%s: a round before its samples", tt.name)
				}
				got = append(got, time.Since(start))
			}}
			_ = r.Run(ctx, func(collectors.Sample) { samples++ })
			if !slices.Equal(got, tt.rounds) {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.rounds)
			}
		})
	}
}
