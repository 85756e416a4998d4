//go:build !race

package update_test

const race = false
