package habit_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"time"

	"holdfast/remediate/habit"
)

// seal puts the sum right, so that what is before it is looked at.
func seal(b []byte) []byte {
	if len(b) < 4 {
		return b
	}
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.ChecksumIEEE(b[:len(b)-4]))
	return b
}

func TestBookIsKeptAcrossStarts(t *testing.T) {
	m, b := newMachine(6), habit.New(names)
	watch(b, m, 14*day, true, nil)
	text := b.Encode()
	next := habit.New(names)
	if err := next.Decode(text); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(next.Encode(), text) {
		t.Error("what was decoded is encoded as something else")
	}
	m.start, m.at = m.start.Add(m.at), 0
	watch(next, m, time.Hour, true, nil)
	watch(next, m, time.Hour+10*time.Minute, true, func(m *machine) { m.row[celsius] += 20 })
	if got := next.Unusual(); len(got) != 1 || got[0].Name != "celsius" {
		t.Errorf("%v", got)
	}
	if err := next.Decode(text); err != nil || next.Unusual() != nil {
		t.Errorf("%v: unusual after it was decoded: %v", err, next.Unusual())
	}
	if n := watch(habit.New(names), m, 10*day, true, nil); len(n) != 0 { // the seed is a quiet one without the book as well
		t.Errorf("%v", n)
	}
	t.Logf("%d bytes for %d measures", len(text), kinds)
}

func TestDamagedBookIsRefused(t *testing.T) {
	m, b := newMachine(6), habit.New(names)
	watch(b, m, 2*day, true, nil)
	text := b.Encode()
	put := func(at int, bytes ...byte) []byte {
		c := append([]byte(nil), text...)
		copy(c[at:], bytes)
		return seal(c)
	}
	const head, record = 20, 24*10 + 10*4 + 2
	f32 := func(f float64) []byte { return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(f))) }
	other := habit.New([]string{"load", "celsius"})
	merged := habit.New(append([]string{"load\x00celsius"}, names[2:]...))
	for _, tt := range []struct {
		want string
		text []byte
	}{
		{"does not begin", nil}, {"does not begin", text[:23]}, {"does not begin", put(0, 'X')},
		{"other measures", other.Encode()}, {"other measures", merged.Encode()}, {"other measures", put(8, text[8]+1)}, {"other measures", put(16, 3)},
		{"wants", seal(text[:len(text)-8])}, {"wants", append(text[:len(text):len(text)], 0)},
		{"damaged", append(text[:len(text)-1:len(text)-1], text[len(text)-1]+1)},
		{"minute 1440", put(18, 0xa0, 5)},
		{"load: has NaN", put(head, f32(math.NaN())...)}, {"has -Inf", put(head, f32(math.Inf(-1))...)}, {"has -1: wants 0", put(head+4, f32(-1)...)},
		{"421 minutes of an hour", put(head+8, 0xa5, 1)}, {"celsius: has +Inf", put(head+record+240, f32(math.Inf(1))...)},
		{"has -0.5", put(head+record-6, f32(-0.5)...)}, {"learned for 10081", put(head+record-2, 0x61, 0x27)},
	} {
		if err := b.Decode(tt.text); !errors.Is(err, habit.ErrBook) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want %q: %v", tt.want, err)
		}
		if !bytes.Equal(b.Encode(), text) {
			t.Fatalf("%q: the book has changed", tt.want)
		}
	}
	for i := range text {
		bad := bytes.Clone(text)
		if bad[i] ^= 1 << (i % 8); b.Decode(bad) == nil {
			t.Fatalf("byte %d was changed, and nobody saw", i)
		}
	}
}

func TestThereIsRoomForSoManyNames(t *testing.T) {
	b := habit.New(make([]string, 1000))
	b.Add(0, time.Time{}, false, make([]float32, 1000))
	if n := len(b.Encode()); n > 80_000 {
		t.Errorf("%d bytes", n)
	}
}

// Whatever is read can be used, and is written as it was read.
func FuzzDecode(f *testing.F) {
	m, b := newMachine(6), habit.New(names)
	f.Add(b.Encode())
	watch(b, m, 4*day, true, nil)
	f.Add(b.Encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, text := range [][]byte{text, seal(text)} {
			b := habit.New(names)
			if err := b.Decode(text); err != nil {
				if !errors.Is(err, habit.ErrBook) {
					t.Error(err)
				}
				continue
			}
			if !bytes.Equal(b.Encode(), text) {
				t.Error("is written as something else")
			}
			m := newMachine(1)
			watch(b, m, 30*time.Minute, true, nil)
			for _, o := range b.Unusual() {
				if o.Value-o.Value != 0 || o.Usual-o.Usual != 0 || !(o.Score >= 1) {
					t.Errorf("%+v", o)
				}
			}
		}
	})
}
