package collectors_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/board/boardtest"
	"holdfast/collectors"
)

func TestRunWaitsForWhatItStartedButNotForEver(t *testing.T) {
	for _, tt := range []struct {
		name string
		last time.Duration // how long the source goes on after the end
		want time.Duration
	}{
		{"obedient", time.Second, time.Second},
		{"hung", time.Hour, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := errors.New("told to stop")
			var returned atomic.Bool
			s := source{"s", func(ctx context.Context, emit collectors.Emit) error {
				<-ctx.Done()
				time.Sleep(tt.last)
				emit(collectors.Sample{Source: "late"})
				returned.Store(true)
				return nil
			}}
			time.AfterFunc(5*time.Second, func() { cancel(stop) })
			start := time.Now()
			r := collectors.Runner{Clock: boardtest.Clock{}, Grace: 3 * time.Second, Streams: []collectors.Stream{s}}
			err := r.Run(ctx, func(collectors.Sample) { t.Error("a sample after the end") })
			if took := time.Since(start) - 5*time.Second; took != tt.want || !errors.Is(err, stop) || returned.Load() != (tt.last == tt.want) {
				t.Errorf("%s: Run = %v after %v, want %v after %v; returned: %v", tt.name, err, took, stop, tt.want, returned.Load())
			}
			time.Sleep(2 * time.Hour) // nothing may be left in the bubble
		})
	}
}
