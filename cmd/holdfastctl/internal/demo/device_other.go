//go:build !linux

package demo

import (
	"context"
	"io"
	"os/exec"
	"syscall"
)

// supported is false: the agent reads /proc.
const supported = false

const leakSignal = syscall.SIGTERM

func grab(int) ([]byte, error) { return nil, ErrLinux }
func drop([]byte) error        { return nil }

func boot(settings) (*device, error) { return nil, ErrLinux }

// Board is the board of the chapters about updates.
func Board(context.Context, string, string, io.Writer) error { return ErrLinux }

func dependent(*exec.Cmd) {}
