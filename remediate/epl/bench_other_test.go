//go:build !linux

package epl_test

import "time"

var begun = time.Now()

// processorTime is the time that went by, for want of a better.
func processorTime() time.Duration { return time.Since(begun) }
