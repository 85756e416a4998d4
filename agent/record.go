package agent

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"sync/atomic"
	"time"

	"holdfast/agent/spool"
	"holdfast/board"
	"holdfast/collectors"
)

// recorder makes records: it owns the session and counts within it. It is the one thing the core, the commander and the
// drain share, by its atomic counter.
type recorder struct {
	clock   board.Clock
	session string // 16 hex digits, random for each start of the process
	seq     atomic.Uint64
}

func newRecorder(clock board.Clock) *recorder {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand, since Go 1.24)
	return &recorder{clock: clock, session: hex.EncodeToString(b[:])}
}

// head begins a record's JSON with its identity.
func (r *recorder) head(b []byte) (_ []byte, seq uint64) {
	seq = r.seq.Add(1)
	b = append(b, `{"session":"`...)
	b = append(b, r.session...)
	b = append(b, `","seq":`...)
	return strconv.AppendUint(b, seq, 10), seq
}

// telemetry makes one record of samples that are already JSON, separated by commas.
func (r *recorder) telemetry(samples []byte) spool.Record {
	b, seq := r.head(make([]byte, 0, len(samples)+64))
	b = append(b, `,"samples":[`...)
	b = append(b, samples...)
	b = append(b, `]}`...)
	return spool.Record{Class: spool.Telemetry, Session: r.session, Seq: seq, Payload: b}
}

// event makes one record of a kind. body must not have the members session, seq, kind, time and trusted.
func (r *recorder) event(kind string, body map[string]any) spool.Record {
	b, seq := r.head(nil)
	b = append(b, `,"kind":"`...)
	b = append(b, kind...)
	b = append(b, `","time":"`...)
	b = r.clock.Now().UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","trusted":`...)
	b = strconv.AppendBool(b, r.clock.Trusted())
	if rest, err := json.Marshal(body); err == nil && len(rest) > 2 {
		b = append(b, ',')
		b = append(b, rest[1:]...)
	} else {
		b = append(b, '}')
	}
	return spool.Record{Class: spool.Event, Session: r.session, Seq: seq, Payload: b}
}

// gap makes the record that tells of records dropped.
func (r *recorder) gap(g spool.Gap) (spool.Record, bool) {
	class := "telemetry"
	if g.Class == spool.Event {
		class = "event"
	}
	return r.event("gap", map[string]any{"of": map[string]any{"session": g.Session, "from": g.From, "to": g.To},
		"class": class, "count": g.Count, "reason": g.Reason}), true
}

// batch gathers samples into one record.
type batch struct {
	limit   int // bytes of samples
	samples []byte
	count   int
}

// add appends a sample, and reports whether it fits: if not, the batch is as it was, and must be taken first.
func (b *batch) add(s *collectors.Sample) (fits bool) {
	before := len(b.samples)
	if b.count > 0 {
		b.samples = append(b.samples, ',')
	}
	b.samples = s.AppendJSON(b.samples)
	if len(b.samples) > b.limit {
		b.samples = b.samples[:before]
		return false
	}
	b.count++
	return true
}

// headRoom is what a record of samples has around them: its members' names, 16 digits of session and 20 of seq.
const headRoom = 80

// take empties the batch into a record.
func (b *batch) take(r *recorder) spool.Record {
	rec := r.telemetry(b.samples)
	b.samples, b.count = b.samples[:0], 0
	return rec
}

// batchLimit is how many bytes of samples a record may hold: what the policy, the broker and the spool allow.
func (a *Agent) batchLimit() int {
	limit := a.parts.Policy.BatchBytes
	for _, most := range []int{a.parts.Dialect.Session().Limits.PayloadBytes, a.parts.Spool.RecordBytes, 64 << 10} {
		if most > 0 {
			limit = min(limit, most)
		}
	}
	return limit - headRoom
}
