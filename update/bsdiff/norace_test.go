//go:build !race

package bsdiff_test

const raced = false
