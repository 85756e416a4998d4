//go:build race

package update_test

// race says that the race detector runs: everything takes ten times as long, and what is tried is less.
const race = true
