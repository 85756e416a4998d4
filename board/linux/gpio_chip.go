package linux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"
)

// mostChips is how many chips are looked at. Boards have 1 to 10.
const mostChips = 64

// A Chip is a GPIO chip as the kernel describes it.
type Chip struct {
	Name  string // the device below dev, gpiochip0; it may be another after a restart
	Label string // the driver's name for it, pinctrl-bcm2711
	Lines []LineInfo
}

// LineInfo is a line as the kernel describes it to anybody who may open the chip.
type LineInfo struct {
	Offset    int
	Name      string // empty where the device tree gives none
	Consumer  string // who holds it; a name the holder chose
	Used      bool   // somebody holds it: a process, or a driver of the kernel
	Output    bool
	ActiveLow bool
}

// Chips returns the GPIO chips below root, in the order of their numbers. Those that cannot be asked are in the error, the
// others are returned all the same.
func Chips(root string) ([]Chip, error) { return LineOptions{Root: root, open: openChip}.chips() }

func (o LineOptions) chips() ([]Chip, error) {
	var chips []Chip
	var faults []error
	for _, name := range chipNames(o.Root) {
		err := o.with(name, func(c gpioChip, label string, lines int) error {
			chip := Chip{Name: name, Label: label}
			for i := range lines {
				info, err := c.Line(i)
				if err != nil {
					return fmt.Errorf("line %d: %w", i, err)
				}
				chip.Lines = append(chip.Lines, LineInfo{Offset: i, Name: printable(info.Name[:]), Consumer: printable(info.Consumer[:]),
					Used: info.Flags.IsUsed(), Output: info.Flags.IsOutput(), ActiveLow: info.Flags.IsActiveLow()})
			}
			chips = append(chips, chip)
			return nil
		})
		if err != nil {
			faults = append(faults, err)
		}
	}
	return chips, errors.Join(faults...)
}

// chipNames returns the chips' devices, sorted by number. Another name for one, as a link, is left out.
func chipNames(root string) []string {
	entries, err := os.ReadDir(filepath.Join(root, "dev"))
	if err != nil {
		return nil // no devices, no chips
	}
	number := func(name string) int { n, _ := strconv.Atoi(strings.TrimPrefix(name, "gpiochip")); return n }
	var names []string
	for _, e := range entries {
		if n, is := strings.CutPrefix(e.Name(), "gpiochip"); is && digits(n) && e.Type()&fs.ModeSymlink == 0 {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return number(a) - number(b) })
	return names[:min(len(names), mostChips)]
}

// with opens a chip for the time of f.
func (o LineOptions) with(name string, f func(c gpioChip, label string, lines int) error) error {
	c, err := o.open(filepath.Join(o.Root, "dev", name))
	if err != nil {
		return fmt.Errorf("open GPIO chip: %w", err)
	}
	defer c.Close()
	info, err := c.Info()
	if err != nil {
		return fmt.Errorf("ask GPIO chip %s: %w", name, err)
	}
	if err := f(c, printable(info.Label[:]), int(min(info.Lines, mostOffsets))); err != nil {
		return fmt.Errorf("GPIO chip %s: %w", name, err)
	}
	return nil
}

// request finds the line and requests it from its chip.
func (o LineOptions) request(spec LineSpec, initial bool) (gpioRequest, error) {
	want, err := parseLine(spec.Line)
	if err != nil {
		return nil, err
	}
	name, offset, err := o.find(want)
	if err != nil {
		return nil, err
	}
	r := uapi.LineRequest{Lines: 1, Config: spec.config(initial)}
	r.Offsets[0] = uint32(offset)
	copy(r.Consumer[:nameBytes], o.Consumer)
	if spec.Edges != "" {
		r.EventBufferSize = edgeRoom
	}
	var held gpioRequest
	err = o.with(name, func(c gpioChip, label string, _ int) error {
		info, err := c.Line(offset)
		if err != nil {
			return fmt.Errorf("line %d: %w", offset, err)
		}
		if want.chip == "" && printable(info.Name[:]) != want.name || want.chip != "" && want.chip != name && want.chip != label {
			return fmt.Errorf("line %d: another chip has its number since: %w", offset, unix.ENODEV) // one behind USB came or went
		}
		if held, err = c.Request(&r); errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("line %d is held by %q: %w", offset, printable(info.Consumer[:]), err)
		}
		if err != nil {
			return fmt.Errorf("request line %d: %w", offset, err)
		}
		return nil
	})
	return held, err
}

// find returns the chip and the offset of a line. Two lines of one name are an error: the wrong one could be driven.
func (o LineOptions) find(want lineAt) (chip string, offset int, err error) {
	var found []string
	var faults []error
	for _, name := range chipNames(o.Root) {
		err := o.with(name, func(c gpioChip, label string, lines int) error {
			take := func(at int) {
				found = append(found, fmt.Sprintf("%s:%d", name, at))
				chip, offset = name, at
			}
			switch {
			case want.chip == "":
				return named(c, want.name, lines, take)
			case want.chip != name && want.chip != label:
			case want.offset >= lines:
				return fmt.Errorf("it has %d lines", lines)
			default:
				take(want.offset)
			}
			return nil
		})
		if err != nil {
			faults = append(faults, err)
		}
	}
	switch {
	case len(found) > 1:
		return "", 0, fmt.Errorf("several lines are called so: %s", strings.Join(found, ", "))
	case len(found) == 1:
		return chip, offset, nil
	case len(faults) > 0:
		return "", 0, errors.Join(faults...)
	}
	return "", 0, fmt.Errorf("no GPIO chip has it: %w", fs.ErrNotExist)
}

// named takes every line of this name.
func named(c gpioChip, name string, lines int, take func(offset int)) error {
	for i := range lines {
		info, err := c.Line(i)
		if err != nil {
			return fmt.Errorf("line %d: %w", i, err)
		}
		if printable(info.Name[:]) == name {
			take(i)
		}
	}
	return nil
}

// A gpioChip is a chip that was opened. The kernel's is chipFile; tests bring one of memory.
type gpioChip interface {
	Info() (uapi.ChipInfo, error)
	Line(offset int) (uapi.LineInfoV2, error)
	// Request takes one line for this process, until the result is closed.
	Request(r *uapi.LineRequest) (gpioRequest, error)
	io.Closer
}

// A gpioRequest is a line that was requested. ENODEV means that its chip is gone.
type gpioRequest interface {
	// Get returns the logical level of an input. Of an output it only says whether the chip is there.
	Get() (high bool, err error)
	Set(high bool) error
	// Events calls f with what the kernel has to tell, until ctx ends or there is an error. It may run beside the others.
	Events(ctx context.Context, f func(uapi.LineEvent)) error
	io.Closer
}
