package spool

import (
	"slices"
	"time"
)

// A queue holds one class: the older part on flash, the newer in RAM, in the order of ordinals.
type queue struct {
	class   Class
	segs    []*segment
	active  File // of the last segment; nil: the next batch begins one
	ram     []*item
	bytes   int       // of ram
	since   time.Time // when the oldest record in RAM that waits for flash came
	low     uint64    // everything up to it is done
	lowSeq  uint64    // seq of that record
	handed  uint64    // everything up to it was handed out
	flight  []flight  // handed out and above low, in order
	redone  []uint64  // done, above low, handed out before Retry
	head    *head     // the next record on flash, already read
	read    reader
	dropped uint64
}

// An item is a record in RAM.
type item struct {
	ordinal, seq, session uint64
	payload               []byte
	done                  bool
}

const itemOverhead = 128

func (i *item) size() int { return len(i.payload) + itemOverhead }

type flight struct {
	id, ordinal, seq uint64
	size             int
	seg              *segment // it was read from; nil: it came from RAM
	end              int64    // where its frame ends in the segment
	done             bool
	volatile         bool // it was done, or dropped, while it was in RAM alone: no segment holds it
}

// waiting is how many records in RAM are not done.
func (q *queue) waiting() int {
	n := 0
	for _, it := range q.ram {
		if !it.done {
			n++
		}
	}
	return n
}

// forget takes the oldest segment out of the queue.
func (q *queue) forget(g *segment) {
	if len(q.segs) == 1 {
		q.close()
	}
	if q.read.seg == g {
		q.read.close()
	}
	q.segs = slices.Delete(q.segs, 0, 1)
}

// close ends the segment that is being written.
func (q *queue) close() {
	if q.active != nil {
		q.active.Close()
		q.active = nil
	}
}

// flushed moves the batch's records from the queue's RAM to the segment's index.
func (q *queue) flushed(g *segment, batch []*item) {
	if len(batch) == 0 {
		return
	}
	for _, it := range batch {
		g.count(it.ordinal, it.seq)
	}
	last := batch[len(batch)-1]
	for len(q.ram) > 0 && q.ram[0].ordinal <= last.ordinal {
		q.bytes -= q.ram[0].size()
		q.ram[0] = nil
		q.ram = q.ram[1:]
	}
	if len(q.ram) == 0 {
		q.ram = nil
	}
}

// A head is the next record of a queue's segments, read and verified.
type head struct {
	ordinal, seq, session uint64
	payload               []byte
	seg                   *segment
	end                   int64
}

// inRAM returns the index of the first record in RAM that has not been handed out, or -1.
func (q *queue) inRAM() int {
	i, found := q.find(q.handed)
	if found {
		i++
	}
	for ; i < len(q.ram); i++ {
		if !q.ram[i].done {
			return i
		}
	}
	return -1
}

func (q *queue) find(ordinal uint64) (int, bool) {
	return slices.BinarySearchFunc(q.ram, ordinal, func(it *item, o uint64) int {
		switch {
		case it.ordinal < o:
			return -1
		case it.ordinal > o:
			return 1
		}
		return 0
	})
}

// release frees a record's memory, and reports whether it was in RAM.
func (q *queue) release(ordinal uint64) bool {
	i, ok := q.find(ordinal)
	if !ok {
		return false
	}
	it := q.ram[i]
	q.bytes -= it.size()
	it.done, it.payload = true, nil
	q.bytes += it.size()
	for len(q.ram) > 0 && q.ram[0].done {
		q.bytes -= q.ram[0].size()
		q.ram[0] = nil
		q.ram = q.ram[1:]
	}
	if len(q.ram) == 0 {
		q.ram = nil
	}
	return true
}

// advance moves low over what is done.
func (q *queue) advance() {
	for len(q.flight) > 0 && q.flight[0].done {
		f := q.flight[0]
		q.low, q.lowSeq = f.ordinal, f.seq
		switch g := f.seg; {
		case g != nil:
			g.done++
			g.resume, g.resumed = f.end, g.done
		case !f.volatile: // it went to flash while it was on its way to the broker
			i := slices.IndexFunc(q.segs, func(g *segment) bool { return g.first <= f.ordinal && f.ordinal <= g.last })
			if i >= 0 {
				q.segs[i].done++
			}
		}
		q.flight = q.flight[1:]
	}
	if len(q.flight) == 0 {
		q.flight = nil
	}
	q.redone = slices.DeleteFunc(q.redone, func(o uint64) bool { return o <= q.low })
}

// rewind begins to hand out at low again.
func (q *queue) rewind() {
	q.handed = q.low
	q.head = nil
	q.read.close()
}
