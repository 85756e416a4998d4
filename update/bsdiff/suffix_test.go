package bsdiff_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"holdfast/update/bsdiff"
)

func TestSuffixesAreInOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	texts := [][]byte{nil, {7}, bytes.Repeat([]byte{0}, 3000), bytes.Repeat([]byte("ab"), 1500), bytes.Repeat([]byte("mississippi"), 99)}
	for range 2000 {
		text := make([]byte, rnd.IntN(200))
		letters := 1 + rnd.IntN(5)
		for i := range text {
			text[i] = byte(rnd.IntN(letters) * 63)
		}
		texts = append(texts, text)
	}
	for _, text := range texts {
		sa := make([]int32, len(text))
		bsdiff.SortSuffixes(text, sa)
		seen := make([]bool, len(text))
		for i, p := range sa {
			if seen[p] {
				t.Fatalf("%q: suffix %d twice", text, p)
			}
			seen[p] = true
			if i > 0 && bytes.Compare(text[sa[i-1]:], text[p:]) >= 0 {
				t.Fatalf("%q: suffix %d before %d", text, sa[i-1], p)
			}
		}
	}
}
