package spool

import "encoding/binary"

// Mutants are the mistakes the crash tests build in, by name.
var Mutants = map[string]mutant{
	"trust every frame": trustEveryFrame, "continue a torn tail": continueTornTail, "stop at a torn segment": stopAtTornSegment,
	"no sector padding": noSectorPadding, "remove handed out": removeHandedOut, "cursors run ahead": cursorsRunAhead,
	"gap after drop": gapAfterDrop, "cursor before gap": cursorBeforeGap, "silent drop": silentDrop,
	"quota off by a segment": quotaOffBySegment, "reuse ordinals": reuseOrdinals, "append after a fault": appendAfterFault,
	"forget before sync": forgetBeforeSync,
}

// WithMutant returns the options with a mistake built in.
func WithMutant(o Options, name string) Options {
	m, ok := Mutants[name]
	if !ok {
		panic("no mutant " + name)
	}
	o.mutant = m
	return o
}

// Pending returns the losses that no record tells of yet.
func (s *Spool) Pending() []Gap { return s.gaps }

// Reseal makes the checksums of a segment's bytes right, and the header that of the segment named.
func Reseal(b []byte, class Class, number uint32) {
	seed := uint32(0)
	for off := 0; off+frameBytes <= len(b); {
		f, ok := parseFrame(b[off:])
		if !ok || off+f.size() > len(b) {
			return
		}
		whole := b[off : off+f.size()]
		if off == 0 && f.kind == kindHeader && f.length == headerBytes {
			p := whole[frameBytes:]
			copy(p, magic)
			binary.LittleEndian.PutUint32(p[16:], number)
			p[20] = class.kind()
		}
		sum := checksum(seed, whole)
		binary.LittleEndian.PutUint32(whole, sum)
		if off == 0 {
			seed = sum
		}
		off += f.size()
	}
}
