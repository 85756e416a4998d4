// Package iface is a driver: it takes a network interface down and up again, and leaves it up however that ends.
//
// The kernel forgets routes, and IPv6 addresses, of an interface that goes down. Those that somebody set are put back, as far
// as whoever looks after the interface (systemd-networkd, NetworkManager, a DHCP client) has not done so before.
package iface

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/actuators"
	"holdfast/board"
	"holdfast/board/strict"
)

// pause is how long the interface is down: the other end of a cable is to notice.
const pause = 2 * time.Second

// A Report is what came of it.
type Report struct {
	Restored int    `json:"restored"` // routes and addresses that were put back
	Trouble  string `json:"trouble,omitempty"`
}

// A Run has a process with the power for it cycle an interface, and returns what that printed: the report as JSON.
type Run func(ctx context.Context, name string) ([]byte, error)

// Verb returns interface.cycle for the listed interfaces and no others.
func Verb(clock board.Clock, names []string, run Run) (actuators.Verb, error) {
	for _, name := range names {
		if err := Valid(name); err != nil {
			return actuators.Verb{}, err
		}
	}
	if len(names) == 0 {
		names = []string{""} // an empty list of choices would mean any text
	}
	return actuators.Verb{
		Name:        "interface.cycle",
		Help:        "take a network interface down and up again",
		Params:      []actuators.Param{{Name: "interface", Kind: actuators.Text, Required: true, Choices: names, Help: "which interface"}},
		Class:       actuators.Repair,
		Destructive: true,
		Do: func(ctx context.Context, args actuators.Args) (actuators.Result, error) {
			name := args.Text("interface")
			if Valid(name) != nil || !slices.Contains(names, name) {
				return nil, fmt.Errorf("interface %q: %w", name, actuators.ErrDenied)
			}
			began := clock.Now()
			said, err := run(ctx, name)
			var r Report
			if err == nil {
				err = strict.Unmarshal(said, &r, strict.Limits{Bytes: 4 << 10, Depth: 2, Members: 8})
			}
			if err != nil {
				return nil, fmt.Errorf("interface %s: %w", name, err)
			}
			result := actuators.Result{"interface": name, "seconds": clock.Now().Sub(began).Seconds(), "restored": r.Restored}
			if r.Trouble != "" {
				result["trouble"] = r.Trouble
			}
			return result, nil
		},
	}, nil
}

// Valid reports what keeps name from being an interface's: 1 to 15 bytes, as the kernel takes them.
func Valid(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r == '/' || r == ':' || r > '~'
	}) {
		return fmt.Errorf("interface %q: wants 1 to 15 bytes, and no space, slash or colon among them", name)
	}
	return nil
}

// Cycle takes the interface down and, two seconds later or when ctx ends, up again. What is to be put back then is written to
// the file keep before, for Raise: whoever starts this has that called after it.
func Cycle(ctx context.Context, clock board.Clock, name, keep string) (Report, error) {
	if err := Valid(name); err != nil {
		return Report{}, err
	}
	lost, err := snapshot(name)
	if err != nil {
		return Report{}, fmt.Errorf("interface %s: what it has: %w", name, err)
	}
	if err := os.WriteFile(keep, lost.bytes(), 0o600); err != nil {
		return Report{}, fmt.Errorf("interface %s: keep what it has: %w", name, err)
	}
	if err := setUp(name, false); err != nil {
		return Report{}, fmt.Errorf("take %s down: %w", name, err)
	}
	board.Wait(ctx, clock, pause)
	return Raise(name, keep)
}

// Raise takes the interface up and puts back what is in the file keep and is not there. Both may be done twice.
func Raise(name, keep string) (Report, error) {
	if err := Valid(name); err != nil {
		return Report{}, err
	}
	if err := setUp(name, true); err != nil {
		return Report{}, fmt.Errorf("take %s up: %w", name, err)
	}
	text, err := os.ReadFile(keep)
	if errors.Is(err, os.ErrNotExist) { // it never went down
		return Report{}, nil
	}
	var lost messages
	if err == nil {
		lost, err = parse(text)
	}
	var r Report
	if err == nil {
		r.Restored, err = lost.restore()
	}
	if err != nil { // it is up: the rest is for whoever looks after it
		r.Trouble = fmt.Sprintf("%.300s", err)
	}
	return r, nil
}

// setUp sets or clears IFF_UP (netdevice(7)).
func setUp(name string, up bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	flags := request.Uint16() &^ unix.IFF_UP
	if up {
		flags |= unix.IFF_UP
	}
	if flags == request.Uint16() {
		return nil
	}
	request.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
