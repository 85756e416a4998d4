package bsdiff_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"holdfast/update/bsdiff"
)

type control struct {
	diff, extra uint64
	step        int64
}

// group packs tuples by hand: diff bytes all zero, extra bytes all 'x'.
func group(tuples ...control) []byte {
	var ctrl, runs, extras []byte
	for _, c := range tuples {
		ctrl = binary.AppendUvarint(ctrl, c.diff)
		ctrl = binary.AppendUvarint(ctrl, c.extra)
		ctrl = binary.AppendVarint(ctrl, c.step)
		if c.diff > 0 {
			runs = binary.AppendUvarint(runs, c.diff)
		}
		extras = append(extras, bytes.Repeat([]byte("x"), int(min(c.extra, 1000)))...)
	}
	return parts(ctrl, runs, nil, extras)
}

func parts(ctrl, runs, lits, extras []byte) []byte {
	var b []byte
	for _, p := range [][]byte{ctrl, runs, lits} {
		b = binary.AppendUvarint(b, uint64(len(p)))
	}
	return append(append(append(append(b, ctrl...), runs...), lits...), extras...)
}

func empties(n int) []control { return make([]control, n) }

func join(a []control, b ...control) []byte { return group(append(a, b...)...) }

// A segment of 100 bytes over an old image of 1,000. What is well formed ends with the wrong hash, because nothing has
// the one that is asked for.
func TestTuplesStayInTheirBounds(t *testing.T) {
	old := bytes.Repeat([]byte("old bytes "), 100)
	for _, tt := range []struct {
		name string
		raw  []byte
		want string // of the error; empty for well formed
	}{
		{"all diff", group(control{100, 0, -100}), ""},
		{"all extra", group(control{0, 100, 0}), ""},
		{"the last bytes of old", group(control{0, 0, 900}, control{100, 0, -1000}), ""},
		{"outside old and back", group(control{0, 0, -5}, control{0, 50, 2005}, control{0, 50, -2000}), ""},
		{"4,096 empty tuples", join(empties(4096), control{0, 100, 0}), ""},
		{"two groups", append(group(control{50, 0, 0}), group(control{0, 50, -50})...), ""},
		{"4,097 empty tuples", join(empties(4097), control{0, 100, 0}), "empty tuples"},
		{"one byte beyond old", group(control{0, 0, 901}, control{100, 0, -1001}), "at 901 of an old image of 1000"},
		{"before old", group(control{0, 0, -1}, control{100, 0, -99}), "at -1 of an old image"},
		{"does not come back", group(control{100, 0, -99}), "ends at old position 1"},
		{"longer than the span", group(control{101, 0, -101}), "where 100 are wanted"},
		{"extra longer than the span", group(control{50, 51, -50}), "where 100 are wanted"},
		{"overflow", group(control{0, math.MaxUint64, 0}), "number without end"},
		{"far away", group(control{0, 0, math.MinInt64}, control{0, 100, 0}), "a step of"},
		{"goes on", group(control{0, 100, 0}, control{0, 1, 0}), "not used up"},
		{"another group", append(group(control{0, 100, 0}), group(control{0, 1, 0})...), "goes on"},
		{"too short", group(control{0, 99, 0}), "EOF"},
		{"no tuples", parts(nil, nil, nil, nil), "a group of 0 bytes"},
		{"a huge group", append(binary.AppendUvarint(nil, 262_145), 0, 0), "a group of 262145 bytes"},
		{"three large parts", append(binary.AppendUvarint(binary.AppendUvarint(nil, 200_000), 100_000), 0), "a group of 300000 bytes"},
		{"a length without end", bytes.Repeat([]byte{0xff}, 20), "number without end"},
		{"runs beyond the tuple", parts([]byte{100, 0, 199, 1}, []byte{101}, nil, nil), "beyond its tuple"},
		{"runs too short", parts([]byte{100, 0, 199, 1}, []byte{99}, nil, nil), "number without end"},
		{"no literals", parts([]byte{100, 0, 199, 1}, []byte{99, 1}, nil, nil), "1 literals"},
		{"a run of nothing", parts([]byte{100, 0, 199, 1}, []byte{99, 0, 1}, nil, nil), "0 literals"},
		{"literals left", parts([]byte{100, 0, 199, 1}, []byte{100}, []byte{1}, nil), "not used up"},
		{"a literal", parts([]byte{100, 0, 199, 1}, []byte{99, 1}, []byte{7}, nil), ""},
		{"nothing", nil, "EOF"},
	} {
		m, patch, err := bsdiff.Seal(tt.raw, 100, int64(len(old)))
		if err != nil {
			t.Fatal(err)
		}
		a := &bsdiff.Applier{Manifest: m, Old: bytes.NewReader(old), New: &file{}}
		err = a.Run(context.Background(), 0, bsdiff.RangeOf(bytes.NewReader(patch)), nil, nil)
		switch {
		case tt.want == "" && !errors.Is(err, bsdiff.ErrOutput):
			t.Errorf("%s: refused: %v", tt.name, err)
		case tt.want != "" && (!errors.Is(err, bsdiff.ErrStream) || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestManifestThatLacksOrDoublesAnythingIsRefused(t *testing.T) {
	_, m, _ := sealed(t, bsdiff.Bzip2)
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bsdiff.ParseManifest(text); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if !strings.Contains(line, `":`) {
			continue
		}
		without := strings.Join(lines[:i], "") + strings.Join(lines[i+1:], "")
		if strings.HasSuffix(strings.TrimSpace(line), "{") || strings.HasSuffix(strings.TrimSpace(line), "[") {
			continue // removing it breaks the brackets, which proves nothing
		}
		without = strings.NewReplacer(",\n  }", "\n  }", ",\n }", "\n }").Replace(without)
		doubled := strings.Join(lines[:i], "") + strings.TrimRight(strings.TrimSpace(line), ",") + ",\n" + strings.Join(lines[i:], "")
		for what, text := range map[string]string{"without": without, "twice": doubled} {
			if _, err := bsdiff.ParseManifest([]byte(text)); !errors.Is(err, bsdiff.ErrFormat) {
				t.Errorf("%s %s: %v", what, strings.TrimSpace(line), err)
			}
		}
	}
	for from, to := range map[string]string{
		`"format": 1`: `"format": 2`, `"bzip2"`: `"lzma"`, `"codec"`: `"Codec"`, `"block_bytes": 4096`: `"block_bytes": 4097`,
		`"bytes": 40000`:   `"bytes": -1`,
		"    65536,\n    ": "    65537,\n    ", `"range": [` + "\n    24": `"range": [` + "\n    25", `"segments": [`: `"segments": null, "more": [`, "}\n}": "}\n} ",
	} {
		changed := strings.Replace(string(text), from, to, 1)
		if to == "}\n} " {
			changed = string(text) + "x"
		}
		if changed == string(text) {
			t.Fatalf("%q is not in the manifest", from)
		}
		if _, err := bsdiff.ParseManifest([]byte(changed)); !errors.Is(err, bsdiff.ErrFormat) {
			t.Errorf("%s for %s: %v", to, from, err)
		}
	}
}
