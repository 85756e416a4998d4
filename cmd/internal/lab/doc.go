//go:build linux

// Package lab runs machines in QEMU and looks after what they want: disks laid out without mounting anything, U-Boot's
// script and environment, a console whose lines have times, a root shell that is not the console, QMP, and a supply that
// can be cut.
//
//	m := &lab.Machine{Dir: dir, Program: "qemu-system-aarch64", Args: lab.Arm64{Disk: "file=disk,format=raw"}.Args()}
//	err := m.Start()
//	_, err = m.Console.Wait(ctx, 0, regexp.MustCompile("login:"))
//	sh, err := m.Shell(ctx)
//	out, err := sh.Do(ctx, "uname -r")
//	err = m.Cut()
//
// It is for programs that try the whole of Holdfast on a board, and wants nothing of it.
package lab

import "errors"

// ErrNotHere means that this machine lacks what a lab wants. Programs end with NotHere then, which says neither passed nor
// failed.
var ErrNotHere = errors.New("cannot run here")

// NotHere is the exit code for ErrNotHere, as automake has it.
const NotHere = 77
