package collectors

// Measures returns what Runner says of the sources themselves.
func Measures() []Measure {
	return Describe("collector", "name of the source", [][3]string{
		{"state", "text", "ok, failing, hung (a reading takes too long) or absent (this machine lacks the source); said at each change, and at every tenth period while failing or hung"},
		{"error", "text", "what went wrong, at most 200 bytes; left out when ok"},
		{"failures_count", "count", "readings in a row without success"},
	})
}
