//go:build !race

package repo_test

const race = false
