package actuators

import "fmt"

// meant names the candidate a stranger probably meant, as a hint to append to an error, or nothing when none is near.
func meant(given string, candidates []string) string {
	best, bestCost := "", 3
	if len(given) > 64 {
		return ""
	}
	for _, c := range candidates {
		if cost := distance(given, c); cost < bestCost && cost < len(c) {
			best, bestCost = c, cost
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is the number of bytes to insert, delete or replace to turn a into b (Levenshtein 1965).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
