package ledger_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"holdfast/cmd/holdfastctl/internal/ledger"
)

var key = ledger.Key{Device: "d1", Session: "s"}

func TestEveryMissingAndEveryDuplicateIsFound(t *testing.T) {
	l := ledger.New(0)
	for _, seq := range []uint64{1, 2, 3, 5, 9, 8, 2, 9, 12} {
		if _, err := l.Add(key, seq); err != nil {
			t.Fatal(err)
		}
	}
	if fresh, _ := l.Add(key, 5); fresh {
		t.Error("5 is fresh the second time")
	}
	r := l.Report()
	want := ledger.Session{Key: key, First: 1, Last: 12, Records: 7, Duplicates: 3,
		Missing: []ledger.Range{{First: 4, Last: 4}, {First: 6, Last: 7}, {First: 10, Last: 11}}}
	got := r.Sessions[0]
	got.Declared = nil
	if !reflect.DeepEqual(normal(got), want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if r.Missing != 5 || r.Duplicates != 3 || r.Records != 7 || r.Complete() {
		t.Errorf("report %+v", r)
	}
	if err := l.Declare(key, ledger.Range{First: 6, Last: 10}); err != nil {
		t.Fatal(err)
	}
	if err := l.Expect(key, ledger.Range{First: 0, Last: 14}); err != nil {
		t.Fatal(err)
	}
	if r = l.Report(); r.Missing != 5 || r.Declared != 3 { // 0, 4, 11, 13-14; 6-7 and 10
		t.Errorf("with what was declared and expected: %+v", r)
	}
}

func normal(s ledger.Session) ledger.Session {
	s.Missing = append([]ledger.Range(nil), s.Missing...)
	return s
}

// The ledger against a map, in random order with losses and repeats.
func TestLedgerAgreesWithAMap(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		l, seen := ledger.New(0), map[uint64]bool{}
		top, bottom, dup := uint64(0), uint64(math.MaxUint64), uint64(0)
		declared := map[uint64]bool{}
		for range rng.IntN(300) + 1 {
			seq := rng.Uint64N(200)
			fresh, err := l.Add(key, seq)
			if err != nil || fresh == seen[seq] {
				t.Fatalf("seed %d: Add(%d) = %v, %v", seed, seq, fresh, err)
			}
			if seen[seq] {
				dup++
			}
			seen[seq] = true
			top, bottom = max(top, seq), min(bottom, seq)
		}
		for range rng.IntN(5) {
			r := ledger.Range{First: rng.Uint64N(200)}
			r.Last = r.First + rng.Uint64N(20)
			if err := l.Declare(key, r); err != nil {
				t.Fatal(err)
			}
			for i := r.First; i <= r.Last; i++ {
				declared[i] = true
			}
		}
		var missing, excused uint64
		for i := bottom; i <= top; i++ {
			if !seen[i] && declared[i] {
				excused++
			} else if !seen[i] {
				missing++
			}
		}
		r := l.Report()
		if r.Missing != missing || r.Declared != excused || r.Duplicates != dup || r.Records != uint64(len(seen)) {
			t.Fatalf("seed %d: %+v, want missing %d declared %d duplicates %d records %d", seed, r, missing, excused, dup, len(seen))
		}
	}
}

func TestNumbersAtTheEndsOfTheirRange(t *testing.T) {
	l := ledger.New(0)
	for _, seq := range []uint64{0, math.MaxUint64, 0, math.MaxUint64, math.MaxUint64 - 1} {
		if _, err := l.Add(key, seq); err != nil {
			t.Fatal(err)
		}
	}
	if r := l.Report(); r.Records != 3 || r.Duplicates != 2 || r.Missing != math.MaxUint64-2 {
		t.Errorf("%+v", r)
	}
}

func TestFullLedgerSaysSo(t *testing.T) {
	l := ledger.New(3) // the session and two ranges
	for seq := uint64(0); seq < 4; seq += 2 {
		if _, err := l.Add(key, seq); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Add(key, 10); !errors.Is(err, ledger.ErrFull) {
		t.Fatalf("a third range: %v", err)
	}
	if _, err := l.Add(key, 1); err != nil { // closes a gap, needs no room
		t.Fatal(err)
	}
	if r := l.Report(); r.Unkept != 1 || r.Complete() || r.Records != 3 {
		t.Errorf("%+v", r)
	}
}
