package pins

import (
	"slices"

	"holdfast/collectors"
)

// Measures returns what the fields of the source and the stream mean.
func Measures() []collectors.Measure {
	return slices.Concat(collectors.Describe("gpio", "name of the line", [][3]string{
		{"level", "count", "0 for low, 1 for high; of an output what it was last told. Left out when the line cannot be read"},
		{"high", "truth", "the same as a truth"},
		{"error", "text", "why the line cannot be read: it is busy, or its chip is gone. Left out when it can"},
		{"edges_count", "count", "edges since the process that owns the lines started, whatever became of the agent meanwhile; of an input that tells its edges"},
		{"rising_count", "count", "those of them that led to high"},
		{"falling_count", "count", "those of them that led to low"},
		{"lost_count", "count", "edges beside them that came faster than they could be taken from the kernel"},
	}), collectors.Describe("gpio_edge", "name of the line", [][3]string{
		{"level", "count", "0 for low, 1 for high, after the edge"},
		{"high", "truth", "the same as a truth"},
		{"monotonic_microseconds", "µs", "when the kernel saw the edge, by CLOCK_MONOTONIC: since the machine started, suspension left out; the sample's own time is when it was taken up"},
		{"seq", "count", "counts the line's edges from 1 since it is watched"},
		{"lost_count", "count", "edges before this one that were lost; left out when none were"},
		{"untold_count", "count", "edges of a flood that were counted and not told; a sample with it stands for them"},
		{"error", "text", "why the line is not watched any more; it is tried again"},
	}))
}
