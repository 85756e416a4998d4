//go:build !cgo

package delta_test

const cgo = false
