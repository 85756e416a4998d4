package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/envelope"
	"holdfast/cmd/holdfastctl/internal/ledger"
	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/shadow"
)

// A watcher is the independent subscriber: it knows of the agent what the broker delivers, and nothing else. It has one
// owner, which reads by waiting for something; meanwhile messages queue in order.
type watcher struct {
	mq     *client.Client
	device string
	mark   string // a topic of its own
	marked bool

	book      *ledger.Ledger
	status    message.Status
	reported  shadow.Document
	results   map[string]envelope.Result
	job       jobStatus
	alerts    []alert // their events, as they came
	diagnoses []diagnosis
	repairs   []repair
	latest    map[string]message.Sample // by source and instance
	rounds    []round                   // of telemetry, as they came
	newest    uint64                    // highest number among them
	behind    int                       // that came after a later one
	bad       error                     // a message that could not be read
}

// A round is one telemetry record: when its samples were taken.
type round struct {
	seq         uint64
	first, last time.Time
}

// A jobStatus is what a device says of its update job.
type jobStatus struct {
	ID      string `json:"id"`
	Release string `json:"release"`
	Phase   string `json:"phase"`
	Reason  string `json:"reason"`
	Error   string `json:"error"`
}

// watch subscribes to everything of a device.
func watch(ctx context.Context, broker, device string) (*watcher, error) {
	mq, err := client.Dial(ctx, client.Options{Broker: broker})
	if err != nil {
		return nil, err
	}
	w := &watcher{mq: mq, device: device, mark: "holdfast/ctl/" + rand.Text(), book: ledger.New(0),
		results: map[string]envelope.Result{}, latest: map[string]message.Sample{}}
	if err := mq.Subscribe(ctx, "holdfast/"+device+"/#", w.mark); err != nil {
		mq.Close()
		return nil, err
	}
	return w, nil
}

// take enters one message.
func (w *watcher) take(m client.Message) {
	if m.Topic == w.mark {
		w.marked = true
		return
	}
	_, kind, ok := message.Split(m.Topic)
	if !ok {
		return
	}
	fresh, err := message.Count(w.book, w.device, kind, m.Payload)
	if err == nil {
		err = w.read(kind, m.Payload, fresh)
	}
	if err != nil && w.bad == nil {
		w.bad = fmt.Errorf("a message on %s cannot be read: %w", m.Topic, err)
	}
}

func (w *watcher) read(kind string, payload []byte, fresh bool) (err error) {
	switch kind {
	case "status":
		w.status = message.Status{}
		return message.Decode(payload, &w.status)
	case "shadow/reported":
		w.reported, err = shadow.Parse(payload)
		return err
	case "command/result":
		r, err := envelope.ParseResult(payload)
		w.results[r.ID] = r
		return err
	case "job/status":
		w.job = jobStatus{}
		return message.Decode(payload, &w.job)
	case "event":
		var a alert
		if err := message.Decode(payload, &a); err != nil || !fresh {
			return err
		}
		switch a.Kind {
		case "alert":
			w.alerts = append(w.alerts, a)
		case "diagnosis":
			var d diagnosis
			err := message.Decode(payload, &d)
			w.diagnoses = append(w.diagnoses, d)
			return err
		case "repair":
			var r repair
			err := message.Decode(payload, &r)
			w.repairs = append(w.repairs, r)
			return err
		}
	case "telemetry":
		var t message.Telemetry
		if err := message.Decode(payload, &t); err != nil || !fresh {
			return err
		}
		w.measured(t)
	}
	return nil
}

func (w *watcher) measured(t message.Telemetry) {
	r := round{seq: t.Seq}
	for _, s := range t.Samples {
		if r.first.IsZero() || s.Time.Before(r.first) {
			r.first = s.Time
		}
		if s.Time.After(r.last) {
			r.last = s.Time
		}
		key := s.Source + "/" + s.Instance
		if !s.Time.Before(w.latest[key].Time) {
			w.latest[key] = s
		}
	}
	if t.Seq < w.newest {
		w.behind++
	}
	w.newest = max(w.newest, t.Seq)
	w.rounds = append(w.rounds, r)
}

// sample returns the latest of a source that has the named field.
func (w *watcher) sample(source, instance, field string) (message.Sample, bool) {
	s, ok := w.latest[source+"/"+instance]
	_, has := s.Fields[field]
	return s, ok && has
}

// number is a field of the latest sample, 0 without one.
func (w *watcher) number(source, field string) float64 {
	s := w.latest[source+"/"]
	n, _ := s.Number(field)
	return n
}

// between counts the records with a sample taken after one time and before another.
func (w *watcher) between(from, to time.Time) (n int) {
	for _, r := range w.rounds {
		if r.last.After(from) && r.first.Before(to) {
			n++
		}
	}
	return n
}

// errNotSeen is why a wait was in vain.
var errNotSeen = errors.New("not seen")

// await reads until done says so. It asks again after each message, and ten times a second for what is not told by
// messages. ended is closed when nothing more can come.
func (w *watcher) await(ctx context.Context, patience time.Duration, ended <-chan struct{}, done func() bool) error {
	timer, tick := time.NewTimer(patience), time.NewTicker(100*time.Millisecond)
	defer timer.Stop()
	defer tick.Stop()
	for !done() {
		select {
		case m := <-w.mq.Messages():
			w.take(m)
		case <-tick.C:
		case <-w.mq.Lost():
			return fmt.Errorf("the subscriber: %w", w.mq.Why())
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return fmt.Errorf("%w within %s", errNotSeen, patience)
		}
		if w.bad != nil {
			return w.bad
		}
	}
	return nil
}

// catchUp reads everything that was published before it is called: the broker delivers to one connection in the order
// it was given, so that a mark comes back last.
func (w *watcher) catchUp(ctx context.Context, patience time.Duration) error {
	w.marked = false
	if err := w.mq.Publish(ctx, w.mark, []byte("{}"), false); err != nil {
		return err
	}
	return w.await(ctx, patience, nil, func() bool { return w.marked })
}
