//go:build race

package bsdiff_test

// raced says that every access to memory is watched, which makes some tests fifty times slower: they do less then.
const raced = true
