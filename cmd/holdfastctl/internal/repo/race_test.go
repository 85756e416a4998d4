//go:build race

package repo_test

// race says that the race detector runs: everything takes ten times as long, and fewer deeds are tried.
const race = true
