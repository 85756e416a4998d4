// Package spool is a leaf: a bounded, power-cut-safe first-in first-out log on flash.
//
// Events are on flash when Put returns; telemetry stays in RAM while the link is up and is moved to flash, a batch at a
// time, when the link has been down for longer than Options.HoldOff or RAM is full. Each class has its own segments, so
// that the less precious one can be dropped without writing the other again. Nothing acknowledged as durable is lost to a
// power cut; it may come out twice, and receivers drop what they have seen by (session, seq).
//
// A flash that is full, read-only or broken degrades the spool: it goes on from RAM, says so in Stats, and tries again
// with back-off. The spool has one owner, starts no goroutine and asks no clock: time is what the calls bring.
package spool

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// A File is one append-only file of a Dir.
type File = interface {
	io.ReaderAt
	io.Writer
	io.Closer
	Sync() error
}

// A Dir is a flat directory of append-only files. Nothing is durable before it is synced: a file's bytes by File.Sync,
// its name (or its absence) by Dir.Sync. Open creates what is not there, List is in lexical order.
type Dir interface {
	Open(name string) (File, error)
	List() ([]string, error)
	Remove(name string) error
	Sync() error
}

// A Class says how precious a record is.
type Class uint8

const (
	// Event is on flash when Put returns, and is dropped last.
	Event Class = iota
	// Telemetry may be lost by a power cut while it is in RAM, and is dropped first.
	Telemetry
)

var classes = [...]struct {
	name string
	kind byte
}{Event: {"event", kindEvent}, Telemetry: {"telemetry", kindTelemetry}}

// String returns event or telemetry.
func (c Class) String() string {
	if int(c) < len(classes) {
		return classes[c].name
	}
	return "class " + strconv.Itoa(int(c))
}

func (c Class) kind() byte { return classes[c].kind }

// A Record is one message to the broker.
type Record struct {
	Class   Class
	Session string // 16 hexadecimal digits, lower case
	Seq     uint64
	Payload []byte // as it is sent; at most Options.RecordBytes. The spool keeps it: it may not be changed after Put
}

// An Entry is a record that was handed out.
type Entry struct {
	ID uint64 // for Done; of this handing-out alone
	Record
}

// A Gap is a run of records that were lost.
type Gap struct {
	Class    Class
	Session  string
	From, To uint64 // seq, inclusive; both classes may count in it
	Count    uint64 // of Class in that run, at most: records on their way to the broker may arrive all the same
	Reason   string
}

// Options configure a Spool. The zero value is usable.
type Options struct {
	LimitBytes   int64         // on flash, in blocks of 4 KiB; default 16 MiB, at least 4 × (SegmentBytes + RAMBytes)
	SegmentBytes int           // default 256 KiB, at least RecordBytes + 1 KiB
	RAMBytes     int           // of records and their book-keeping; default 256 KiB, at least 2 × RecordBytes
	RecordBytes  int           // largest payload; default and at most 64 KiB
	HoldOff      time.Duration // see the package comment; also the longest a record then waits in RAM. Default 60 s
	// Gap makes the event that tells of a loss. The spool calls it from within any of its methods, and puts the record in
	// the log before it makes the loss final. nil, or false: there is no record, Stats alone counts.
	Gap func(Gap) (Record, bool)

	mutant mutant
}

// Stats is the state of a spool.
type Stats struct {
	FlashBytes   int64     // in the directory, each file rounded up to 4 KiB
	RAMBytes     int       // of records in RAM, with their book-keeping
	Waiting      [2]int    // records not yet acknowledged by the broker, by Class
	InRAM        [2]int    // of these, how many are in RAM alone
	Dropped      [2]uint64 // since Open, by Class
	Segments     int
	Degraded     string // why flash is not in use; empty when all is well
	WrittenBytes int64  // given to the file system since Open
	Syncs        int    // of files and the directory since Open
}

// blockBytes is what a file system gives out at least.
const blockBytes = 4096

// maxFlight bounds how many records may be handed out and not done.
const maxFlight = 1024

// ErrRecord means that Put was given a record it cannot keep.
var ErrRecord = errors.New("record not fit for the spool")

// errFull means that nothing on flash may be dropped for what is to be written.
var errFull = errors.New("spool is full")

// A Spool is a first-in first-out log of records.
type Spool struct {
	dir Dir
	o   Options
	now time.Time

	queues  [2]queue
	ordinal uint64 // of the newest record
	number  uint32 // of the newest segment
	id      uint64 // of the newest entry
	session uint64 // of the newest record

	ready    bool          // what is on flash is known
	settled  bool          // and durable
	sick     error         // why flash is not in use
	retryAt  time.Time     // and when it is tried again
	pause    time.Duration // back-off
	trouble  error         // the last read from flash, if it did not succeed
	stuck    error         // why a file could not be removed
	attempts map[string]int
	doomed   []*segment // dropped, but the record that tells of it is not durable yet
	trash    []leftover // files to remove
	untold   bool       // a record in RAM tells of a loss
	gaps     []Gap      // lost, and no record tells of it yet
	notes    []uint32   // segments whose loss is told of by the next batch of events

	up      bool
	downAt  time.Time
	seen    bool      // a time has been told
	owed    int       // bytes done since the cursors were written last
	noted   [2]uint64 // cursors as they were written last
	noting  [2]uint64 // cursors as they are being written
	notedAt time.Time

	buf     []byte
	written int64
	syncs   int
}

// Open reads what the directory holds. Damaged content is skipped and told of, and a directory that cannot be used at all
// degrades the spool; the error is for options that make no sense.
func Open(dir Dir, o Options) (*Spool, Recovery, error) {
	if err := o.fill(); err != nil {
		return nil, Recovery{}, err
	}
	s := &Spool{dir: dir, o: o, attempts: map[string]int{}}
	s.queues[Telemetry].class = Telemetry
	r, err := s.recover()
	if err != nil {
		s.degrade(err)
		return s, r, nil
	}
	_ = s.flush(&s.queues[Event]) // degraded then, and tried again: what is there can be read all the same
	return s, r, nil
}

func (o *Options) fill() error {
	set := func(v *int, otherwise, least int) {
		if *v == 0 {
			*v = otherwise
		}
		*v = max(*v, least)
	}
	set(&o.RecordBytes, maxPayload, 1)
	set(&o.SegmentBytes, 256<<10, o.RecordBytes+2*sectorBytes)
	set(&o.RAMBytes, 256<<10, 2*(o.RecordBytes+itemOverhead))
	if o.LimitBytes == 0 {
		o.LimitBytes = 16 << 20
	}
	if o.HoldOff == 0 {
		o.HoldOff = time.Minute
	}
	least := 4 * int64(o.SegmentBytes+o.RAMBytes)
	switch {
	case o.RecordBytes > maxPayload:
		return fmt.Errorf("open spool: records of %d bytes, at most %d", o.RecordBytes, maxPayload)
	case o.SegmentBytes > 16<<20:
		return fmt.Errorf("open spool: segments of %d bytes, at most 16 MiB", o.SegmentBytes)
	case o.LimitBytes < least:
		return fmt.Errorf("open spool: limit of %d bytes, at least %d with these segments", o.LimitBytes, least)
	}
	return nil
}

// Put takes records in. Events are on flash when it returns nil, with one sync for the batch; an error that is not
// ErrRecord means that they are kept in RAM only, and Tick tries again. ErrRecord means that none was taken.
func (s *Spool) Put(now time.Time, recs ...Record) error {
	s.tell(now)
	sessions, sum := make([]uint64, len(recs)), 0
	for i, r := range recs {
		session, err := s.check(r)
		if err != nil {
			return err
		}
		sessions[i] = session
		sum += len(r.Payload) + itemOverhead
	}
	if sum > s.o.RAMBytes {
		return fmt.Errorf("put %d records: %d bytes at once, at most %d: %w", len(recs), sum, s.o.RAMBytes, ErrRecord)
	}
	events := false
	for i, r := range recs {
		s.enqueue(r, sessions[i])
		events = events || r.Class == Event
	}
	var err error
	if events {
		err = s.flush(&s.queues[Event])
	}
	s.relieve()
	s.spill()
	return err
}

func (s *Spool) check(r Record) (uint64, error) {
	session, err := strconv.ParseUint(r.Session, 16, 64)
	switch {
	case int(r.Class) >= len(classes):
		return 0, fmt.Errorf("put record %d: %s: %w", r.Seq, r.Class, ErrRecord)
	case err != nil || r.Session != hex16(session):
		return 0, fmt.Errorf("put record %d: session %.20q: %w", r.Seq, r.Session, ErrRecord)
	case len(r.Payload) > s.o.RecordBytes:
		return 0, fmt.Errorf("put record %d: %d bytes, at most %d: %w", r.Seq, len(r.Payload), s.o.RecordBytes, ErrRecord)
	}
	return session, nil
}

func hex16(v uint64) string {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := range b {
		b[i] = digits[v>>(60-4*i)&15]
	}
	return string(b[:])
}

func (s *Spool) enqueue(r Record, session uint64) {
	q := &s.queues[r.Class]
	if len(q.ram) == 0 {
		q.since = s.now
	}
	s.ordinal++
	s.session = session
	it := &item{ordinal: s.ordinal, seq: r.Seq, session: session, payload: r.Payload}
	q.ram = append(q.ram, it)
	q.bytes += it.size()
}

// tell moves the spool's time.
func (s *Spool) tell(now time.Time) {
	if !s.seen {
		s.seen, s.downAt, s.notedAt = true, now, now
	}
	s.now = now
}

// Link tells whether the broker can be reached. A spool begins with the link down.
func (s *Spool) Link(now time.Time, up bool) {
	s.tell(now)
	if s.up && !up {
		s.downAt = now
	}
	s.up = up
	s.spill()
}

// Tick does what has become due: a degraded flash is tried again, telemetry goes to flash, cursors are written. A few
// seconds between two calls are right.
func (s *Spool) Tick(now time.Time) {
	s.tell(now)
	if s.sick != nil && !now.Before(s.retryAt) {
		s.probe()
	}
	if s.sick == nil {
		for c := range s.queues {
			s.reap(&s.queues[c], false)
		}
		s.unlink()
		if q := &s.queues[Event]; len(q.ram) > 0 || len(s.gaps) > 0 {
			_ = s.flush(q) // degraded again, and tried again
		}
	}
	s.spill()
	s.relieve()
	if s.trouble != nil {
		s.trouble = nil
		for c := range s.queues {
			_, _ = s.peek(&s.queues[c]) // sets trouble again if it is not over
		}
	}
	if s.owed > 0 && now.Sub(s.notedAt) >= time.Minute {
		s.note()
	}
}

// Stats returns the present state.
func (s *Spool) Stats() Stats {
	st := Stats{FlashBytes: s.used(), WrittenBytes: s.written, Syncs: s.syncs}
	for c := range s.queues {
		q := &s.queues[c]
		for _, it := range q.ram {
			if !it.done {
				st.InRAM[c]++
			}
		}
		st.Waiting[c] = st.InRAM[c]
		for _, g := range q.segs {
			st.Waiting[c] += g.records - g.done
		}
		st.RAMBytes += q.bytes
		st.Dropped[c] = q.dropped
		st.Segments += len(q.segs)
	}
	switch {
	case s.sick != nil:
		st.Degraded = s.sick.Error()
	case s.trouble != nil:
		st.Degraded = s.trouble.Error()
	case s.stuck != nil:
		st.Degraded = s.stuck.Error()
	}
	return st
}

// Close moves what is in RAM to flash, notes how far the broker has acknowledged, and closes the files. The spool is not
// used afterwards. An error means that what is in RAM is lost.
func (s *Spool) Close(now time.Time) error {
	s.tell(now)
	s.retryAt = now
	err := s.flush(&s.queues[Event])
	if e := s.flush(&s.queues[Telemetry]); err == nil {
		err = e
	}
	for c := range s.queues {
		s.reap(&s.queues[c], true)
	}
	if err == nil && s.owed > 0 && s.partly() {
		err = s.write(&s.queues[Event], nil)
	}
	for c := range s.queues {
		q := &s.queues[c]
		q.close()
		q.read.close()
	}
	if err != nil {
		return fmt.Errorf("close spool: %w", err)
	}
	return nil
}
