package bsdiff

// SortSuffixes lets the tests see the order itself: a wrong one only costs size, so no patch would show it.
func SortSuffixes(text []byte, sa []int32) { sortSuffixes(text, sa) }
