package linux

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
)

const (
	nameBytes    = 31   // GPIO_MAX_NAME_SIZE without its zero byte: of chips, lines and consumers
	mostOffsets  = 4096 // lines of a chip; the largest in the kernel has some hundred
	mostDebounce = 10 * time.Second
	edgeRoom     = 256 // edges the kernel keeps for a line, 48 bytes each: 1.3 s of a 200 Hz signal; by itself it keeps 16
)

// biases and edges are the words of a spec, and the kernel's flags for them.
var (
	biases = map[string]uapi.LineFlagV2{"": 0, "as-is": 0, "disabled": uapi.LineFlagV2BiasDisabled,
		"pull-up": uapi.LineFlagV2BiasPullUp, "pull-down": uapi.LineFlagV2BiasPullDown}
	edges = map[string]uapi.LineFlagV2{"": 0, "rising": uapi.LineFlagV2EdgeRising, "falling": uapi.LineFlagV2EdgeFalling,
		"both": uapi.LineFlagV2EdgeBoth}
)

// A lineAt is where a line is looked for: on one chip, or by its name on all.
type lineAt struct {
	chip   string // device or label; empty: on all
	offset int    // on the chip
	name   string // the kernel's
}

// parseLine reads the name of a line. What ends in a colon and digits is chip:offset, anything else the line's own name.
func parseLine(s string) (lineAt, error) {
	if s == "" {
		return lineAt{}, fmt.Errorf("no line is named")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '/' }) {
		return lineAt{}, fmt.Errorf("line %q: a name has printable ASCII, and no slash", s)
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && digits(s[i+1:]) {
		offset, err := strconv.Atoi(s[i+1:])
		switch {
		case i == 0 || i > nameBytes:
			return lineAt{}, fmt.Errorf("line %q: the chip's name has 1 to %d bytes", s, nameBytes)
		case err != nil || offset >= mostOffsets:
			return lineAt{}, fmt.Errorf("line %q: the offset is not from 0 to %d", s, mostOffsets-1)
		}
		return lineAt{chip: s[:i], offset: offset}, nil
	}
	if len(s) > nameBytes {
		return lineAt{}, fmt.Errorf("line %q: longer than %d bytes", s, nameBytes)
	}
	return lineAt{name: s}, nil
}

func digits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// Check says what is wrong with the spec. Whether there is such a line, only the machine knows.
func (s LineSpec) Check() error {
	if _, err := parseLine(s.Line); err != nil {
		return err
	}
	_, biased := biases[s.Bias]
	_, edged := edges[s.Edges]
	switch {
	case !biased:
		return fmt.Errorf("line %s: bias %q: not as-is, disabled, pull-up or pull-down", s.Line, s.Bias)
	case !edged:
		return fmt.Errorf("line %s: edges %q: not rising, falling or both", s.Line, s.Edges)
	case s.Debounce < 0 || s.Debounce > mostDebounce || s.Debounce%time.Microsecond != 0:
		return fmt.Errorf("line %s: debounce %s: not whole microseconds from 0 to %s", s.Line, s.Debounce, mostDebounce)
	case s.Output && (s.Edges != "" || s.Debounce != 0):
		return fmt.Errorf("line %s: an output has neither edges nor debounce", s.Line)
	case !s.Output && s.Initial:
		return fmt.Errorf("line %s: an input has no initial level", s.Line)
	}
	return nil
}

// config returns the spec in the kernel's terms. An output begins with this level.
func (s LineSpec) config(initial bool) uapi.LineConfig {
	c := uapi.LineConfig{Flags: biases[s.Bias] | edges[s.Edges]}
	if s.ActiveLow {
		c.Flags |= uapi.LineFlagV2ActiveLow
	}
	const first = 1 // the mask of the only line of a request
	switch {
	case s.Output:
		c.Flags |= uapi.LineFlagV2Output
		var values uapi.OutputValues
		if initial {
			values = first
		}
		c.AddAttribute(uapi.LineConfigAttribute{Attr: values.Encode(), Mask: first})
	default:
		c.Flags |= uapi.LineFlagV2Input
		if s.Debounce > 0 {
			c.AddAttribute(uapi.LineConfigAttribute{Attr: uapi.DebouncePeriod(s.Debounce).Encode(), Mask: first})
		}
	}
	return c
}

// printable returns a name the kernel keeps as fixed bytes. Whoever wrote it, it cannot steer a terminal.
func printable(b []byte) string {
	if i := slices.Index(b, 0); i >= 0 {
		b = b[:i]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, string(b))
}
