//go:build race

package trust_test

// raced: with the race detector all takes several times as long, and a part is enough.
const raced = true
