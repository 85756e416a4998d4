package bsdiff

import (
	"context"
	"sync"
)

// inOrder does n pieces of work on some goroutines and hands the results over in order, on the caller's goroutine. Each
// goroutine gets a function of its own from start. It returns, with the first error in order, after all have ended.
func inOrder[T any](ctx context.Context, workers, n int, start func() func(int) (T, error), take func(int, T) error) error {
	type result struct {
		value T
		err   error
	}
	ctx, stop := context.WithCancel(ctx)
	results := make([]chan result, n)
	for i := range results {
		results[i] = make(chan result, 1) // so that a worker never waits for the caller
	}
	work := make(chan int)
	ahead := make(chan struct{}, 2*workers) // pieces begun and not yet taken: this bounds the results in memory
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		defer close(work)
		for i := range n {
			select {
			case ahead <- struct{}{}:
				work <- i
			case <-ctx.Done():
				return
			}
		}
	})
	for range min(workers, n) {
		wg.Go(func() {
			var do func(int) (T, error)
			for i := range work {
				if do == nil {
					do = start()
				}
				var r result
				if r.err = ctx.Err(); r.err == nil {
					r.value, r.err = do(i)
				}
				results[i] <- r
			}
		})
	}
	for i := range n {
		select {
		case r := <-results[i]:
			if r.err != nil {
				return r.err
			}
			if err := take(i, r.value); err != nil {
				return err
			}
			results[i] = nil
			<-ahead
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
