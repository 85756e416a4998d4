package epl

import (
	"hash/maphash"
	"math"
	"unsafe"
)

var seed = maphash.MakeSeed()

// hash is equal for values that are the same.
func hash(v Value) uint64 {
	if v.kind == Text {
		return maphash.String(seed, v.text)
	}
	x := v.bits
	if v.kind == Double && x == 1<<63 { // -0 is 0
		x = 0
	}
	x ^= x >> 32 // the finaliser of MurmurHash3
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// A memo is the hash of the text that was hashed last: one event's is asked for by its filter, where it is kept, and where it
// is waited for.
type memo struct {
	text string
	hash uint64
}

func (m *memo) of(v Value) uint64 {
	if v.kind != Text {
		return hash(v)
	}
	if len(v.text) != len(m.text) || unsafe.StringData(v.text) != unsafe.StringData(m.text) {
		m.text, m.hash = v.text, hash(v)
	}
	return m.hash
}

// same reports whether two values of one kind are the same; null is the same as null.
func same(a, b Value) bool {
	if a.kind != b.kind {
		return a.kind != None && b.kind != None && a.kind != Text && b.kind != Text && a.kind != Double && b.kind != Double && a.bits == b.bits
	}
	if a.kind == Text {
		return a.text == b.text
	}
	return a.bits == b.bits || a.kind == Double && math.Float64frombits(a.bits) == math.Float64frombits(b.bits)
}

// A table finds a number by values. It is open-addressed, and grows up to a bound.
type table struct {
	slots []int32 // a number + 1; 0 is free, -1 was used
	count int
	dead  int
}

// find returns the number whose values are the same, or -1.
func (t *table) find(h uint64, same func(int32) bool) int32 {
	if len(t.slots) == 0 {
		return -1
	}
	for i := h & uint64(len(t.slots)-1); ; i = (i + 1) & uint64(len(t.slots)-1) {
		switch n := t.slots[i]; {
		case n == 0:
			return -1
		case n > 0 && same(n-1):
			return n - 1
		}
	}
}

// put enters a number that is not in it; again gives the hash of each that is.
func (t *table) put(h uint64, n int32, again func(int32) uint64) {
	if (t.count+t.dead+1)*4 > len(t.slots)*3 {
		old := t.slots
		size := max(8, len(old))
		for (t.count+1)*2 > size {
			size *= 2
		}
		t.slots, t.dead = make([]int32, size), 0
		for _, n := range old {
			if n > 0 {
				t.set(again(n-1), n)
			}
		}
	}
	t.count++
	t.set(h, n+1)
}

func (t *table) set(h uint64, v int32) {
	for i := h & uint64(len(t.slots)-1); ; i = (i + 1) & uint64(len(t.slots)-1) {
		if t.slots[i] <= 0 {
			if t.slots[i] < 0 {
				t.dead--
			}
			t.slots[i] = v
			return
		}
	}
}

// drop takes a number out that is in it.
func (t *table) drop(h uint64, n int32) {
	for i := h & uint64(len(t.slots)-1); t.slots[i] != 0; i = (i + 1) & uint64(len(t.slots)-1) {
		if t.slots[i] == n+1 {
			next := (i + 1) & uint64(len(t.slots)-1)
			if t.slots[i] = -1; t.slots[next] == 0 {
				t.slots[i] = 0
			} else {
				t.dead++
			}
			t.count--
			return
		}
	}
}
