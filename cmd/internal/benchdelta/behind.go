//go:build linux

package main

import "os"

// behind syncs a file while it is being written, so that the disk works while the next segment is made. It returns what
// to call after each segment, and what to call at the end, which waits.
func behind(f *os.File) (kick, wait func()) {
	wish, done := make(chan struct{}, 1), make(chan struct{}) // one wish stands for all that are made during a sync
	go func() {
		defer close(done)
		for range wish {
			_ = f.Sync() // the sync at the end, of the whole file, is the one that counts
		}
	}()
	return func() {
			select {
			case wish <- struct{}{}:
			default:
			}
		}, func() {
			close(wish)
			<-done
		}
}
