package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Duration is written as Go writes it: "10s", "1m30s", "24h".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 10s or 1m30s", b)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative", b)
	}
	*d = Duration(v)
	return nil
}

// String writes it as it is read.
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Bytes is a size: "256KiB", "16MiB", or a number of bytes.
type Bytes int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Bytes) UnmarshalText(b []byte) error {
	v, err := quantity(string(b), []unit{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}, {"", 1}})
	if err != nil {
		return fmt.Errorf("%q is not a size such as 256KiB or 16MiB", b)
	}
	*n = Bytes(v)
	return nil
}

// String writes it as it is read.
func (n Bytes) String() string {
	for _, u := range []unit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n != 0 && float64(n) == math.Trunc(float64(n)/u.factor)*u.factor {
			return strconv.FormatInt(int64(float64(n)/u.factor), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(n), 10)
}

// Bits is a line's speed in bits a second: "100Mbit", "2Mbit".
type Bits float64

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Bits) UnmarshalText(b []byte) error {
	v, err := quantity(string(b), []unit{{"kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}, {"bit", 1}})
	if err != nil || v == 0 {
		return fmt.Errorf("%q is not a speed such as 100Mbit or 250kbit", b)
	}
	*n = Bits(v)
	return nil
}

// String writes it as it is read.
func (n Bits) String() string {
	for _, u := range []unit{{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}} {
		if float64(n) >= u.factor {
			return strconv.FormatFloat(float64(n)/u.factor, 'g', -1, 64) + u.suffix
		}
	}
	return strconv.FormatFloat(float64(n), 'g', -1, 64) + "bit"
}

type unit struct {
	suffix string
	factor float64
}

// quantity reads a number with one of the suffixes; the longest that fits counts.
func quantity(s string, units []unit) (float64, error) {
	for _, u := range units {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || v < 0 || v > 1<<50 || math.IsNaN(v) {
			continue
		}
		return v * u.factor, nil
	}
	return 0, strconv.ErrSyntax
}
