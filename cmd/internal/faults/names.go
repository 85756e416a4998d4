//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// How the server of names answers.
const (
	namesWell   int32 = iota
	namesSilent       // not at all
	namesRefuse       // SERVFAIL, as a resolver whose upstream is gone
	namesSlow         // after 4 s, when the asker has given up
)

// names answers for every name with one address (RFC 1035, section 4.1).
type names struct {
	how     atomic.Int32
	address [4]byte
}

func (d *names) serve(ctx context.Context, at string) error {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp4", at)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	go func() {
		for {
			b := make([]byte, 512)
			n, from, err := conn.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			how := d.how.Load()
			if err != nil || how == namesSilent {
				continue
			}
			answer := d.answer(b[:n], how)
			if answer == nil {
				continue
			}
			pause := time.Duration(0)
			if how == namesSlow {
				pause = 4 * time.Second
			}
			time.AfterFunc(pause, func() { _, _ = conn.WriteTo(answer, from) })
		}
	}()
	return nil
}

// answer makes the answer of a question, nil where it is none.
func (d *names) answer(q []byte, how int32) []byte {
	if len(q) < 17 || q[2]&0x80 != 0 || binary.BigEndian.Uint16(q[4:]) != 1 {
		return nil
	}
	end := 12
	for end < len(q) && q[end] != 0 {
		if q[end] > 63 {
			return nil
		}
		end += int(q[end]) + 1
	}
	if end += 5; end > len(q) {
		return nil
	}
	kind := binary.BigEndian.Uint16(q[end-4:])
	a := append([]byte(nil), q[:end]...)
	a[2], a[3] = 0x84|q[2]&1, 0x80 // an answer, of authority; recursion is to be had
	for i := 6; i < 12; i++ {
		a[i] = 0
	}
	switch {
	case how == namesRefuse:
		a[3] |= 2
	case kind == 1: // A
		a[7] = 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4) // the name of the question; for 5 s
		a = append(a, d.address[:]...)
	}
	return a
}
