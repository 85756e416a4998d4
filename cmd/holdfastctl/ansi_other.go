//go:build !windows

package main

import "io"

// ansi makes the terminal understand escape sequences; elsewhere than on Windows it does.
func ansi(io.Writer) (restore func()) { return func() {} }
