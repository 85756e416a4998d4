package journal

import "holdfast/collectors"

// Measures returns what the stream's fields mean.
func Measures() []collectors.Measure {
	return collectors.Describe("log", "name of the unit that wrote it", [][3]string{
		{"message", "text", "the line, without control characters other than line feed and tab"},
		{"priority", "count", "0 (emergency) to 7 (debug); 6 where the writer gave none"},
		{"unit", "text", "the unit that wrote it, or that systemd wrote about; empty for the kernel and for what belongs to no unit"},
		{"identifier", "text", "the name the writer gave itself"},
		{"pid", "count", "process that wrote it; 0 where there is none"},
		{"written", "text", "when it was written, RFC 3339 with microseconds, by the wall clock of then"},
		{"truncated", "truth", "true when the message is not whole; left out when it is"},
		{"dropped_count", "count", "entries left out before this one, because there were too many a second or they could not be read; left out when none were"},
	})
}
