package main

import (
	"io"
	"os"

	"golang.org/x/sys/windows"
)

// ansi makes the console understand escape sequences, until restore is called.
func ansi(w io.Writer) (restore func()) {
	f, ok := w.(*os.File)
	if !ok {
		return func() {}
	}
	var mode uint32
	h := windows.Handle(f.Fd())
	if windows.GetConsoleMode(h, &mode) != nil {
		return func() {}
	}
	_ = windows.SetConsoleMode(h, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
	return func() { _ = windows.SetConsoleMode(h, mode) }
}
