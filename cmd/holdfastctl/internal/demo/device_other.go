//go:build !linux

package demo

// supported is false: the agent reads /proc.
const supported = false

func boot(settings) (*device, error) { return nil, ErrLinux }
