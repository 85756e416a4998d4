//go:build !race

package trust_test

const raced = false
