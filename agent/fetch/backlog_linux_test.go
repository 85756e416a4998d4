package fetch_test

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"holdfast/agent/fetch"
)

func TestAHostThatDoesNotAnswerTCPIsLeft(t *testing.T) {
	addr := full(t)
	done := leaks(t)
	h := client(addr, func(h *fetch.HTTP) { h.Stall = brief })
	if _, err := get(t.Context(), h, "f", 0); !errors.Is(err, fetch.ErrSlow) {
		t.Errorf("error %v, want %v", err, fetch.ErrSlow)
	}
	done(h, nil)
}

// full returns an address whose queue of connections is full: Linux does not answer another.
func full(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for {
		c, err := net.DialTimeout("tcp", addr, brief)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
}
