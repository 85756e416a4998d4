package pins

import "holdfast/collectors"

// Measures returns what the source's fields mean.
func Measures() []collectors.Measure {
	return collectors.Describe("gpio", "name of the line", [][3]string{
		{"level", "count", "0 for low, 1 for high; of an output what it was last told. Left out when the line cannot be read"},
		{"high", "truth", "the same as a truth"},
		{"error", "text", "why the line cannot be read: it is busy, or its chip is gone. Left out when it can"},
	})
}
