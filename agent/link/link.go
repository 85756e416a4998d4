// Package link is a noun: it speaks to the cloud. A Dialect says what, a Conn carries it.
//
// Dialects are pure and live in files of this package (plain.go, aws.go); Conns are drivers (agent/link/mqtt). The
// agent's core owns the traffic: it hands records over with Publish and gets everything back as Events.
package link

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// ErrDown means that there is no connection to the broker, or that it was lost before the broker acknowledged.
var ErrDown = errors.New("link is down")

// A Message is one publication.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte // 0 or 1
	Retain  bool
}

// A Session is what a Conn needs of a Dialect to open and keep a connection.
type Session struct {
	ClientID  string
	Clean     bool          // ask the broker to forget the session; false keeps subscriptions and queued messages
	KeepAlive time.Duration // between 30 s and 20 min
	Will      *Message      // what the broker says for us when we vanish
	Filters   []string      // subscribed with QoS 1 at every connect, at most 8 a packet
	// Credentials is asked before every connect, so that a token may carry an expiry. nil means none.
	Credentials func(now time.Time) (user, password string, err error)
	Limits      Limits
}

// Limits are the broker's, as far as a dialect knows them.
type Limits struct {
	PayloadBytes    int           // largest publication
	InFlight        int           // publications not yet acknowledged
	StateBytes      int           // largest state document
	StateDepth      int           // deepest nesting below desired or reported
	StateMinPause   time.Duration // between two reports of state
	Retains         bool          // the broker keeps retained messages
	AnswersState    bool          // a report of state is answered by an Inbound.Answer with its token
	AnswerWithin    time.Duration // how long such an answer may take
	OrderedCommands bool          // commands arrive in the order they were sent
}

// An Event is one thing a Conn has to say; exactly one of Up, Down and Message is set.
type Event struct {
	Up      *Up
	Down    *Down
	Message *Message
}

// Up says that the broker accepted the session and every subscription of it.
type Up struct {
	Resumed bool // the broker kept the session
	Broker  string
}

// Down says that the connection is lost or could not be made.
type Down struct {
	Err   error         // why, in words for the operator
	Retry time.Duration // when the next attempt is made
}

// A Conn is a broker connection that keeps itself up.
type Conn interface {
	// Run connects and reconnects until ctx ends, then disconnects in order and returns nil. on is called from one
	// goroutine at a time and only enqueues; while it blocks, nothing more is read from the broker, and when ctx ends
	// it must return. A Message may come before the Up of its connection: a broker that kept the session sends what it
	// saved at once. The last event of a lost connection is its Down.
	Run(ctx context.Context, on func(Event)) error
	// Publish hands m over and returns at once. done is called exactly once, from any goroutine, perhaps before Publish
	// returns, and only enqueues: nil when the broker has acknowledged m (QoS 0: when it was written), else an error
	// that is ErrDown when trying again later makes sense.
	Publish(m Message, done func(error))
	// Kick closes the present connection, so that Run makes a new one: the certificate or the network changed. Between
	// two attempts it ends the wait.
	Kick()
}

// A Dialect maps what we mean to topics and payloads, and back. It is pure: it keeps no state and asks no clock.
type Dialect interface {
	// Session returns what to connect with.
	Session() Session
	// Opening returns what is published after every connect, before anything else: the questions for present state.
	Opening(token string) []Message
	// Encode maps what the device says.
	Encode(Outbound) (Message, error)
	// Decode maps what the cloud said. An error names the topic and is for the log; the message is dropped.
	Decode(Message) (Inbound, error)
}

// An Outbound is one thing the device says; exactly one field is set. The JSON bodies are complete and in the form of
// docs/topics.md.
type Outbound struct {
	Telemetry json.RawMessage // {"session":…,"seq":…,"samples":[…]}
	Event     json.RawMessage // {"session":…,"seq":…,"kind":…}
	Result    json.RawMessage // {"id":…,"ok":…}
	JobStatus json.RawMessage
	Status    *Status
	Reported  *Reported
}

// Status is whether the device is there.
type Status struct {
	Online bool      `json:"online"`
	Since  time.Time `json:"since,omitzero"`
	Agent  string    `json:"agent,omitempty"` // version
	Reason string    `json:"reason,omitempty"`
}

// Reported is the device's half of the shadow.
type Reported struct {
	Epoch   string            `json:"epoch,omitempty"` // lineage and version of the desired document it answers
	Version int64             `json:"version"`
	State   json.RawMessage   `json:"state"`
	Refused map[string]string `json:"refused,omitempty"` // path to reason
	// Previous is the state the cloud is known to hold, so that a dialect whose cloud merges can delete what is gone;
	// nil when it is not known. It is the last State the cloud accepted, or Desired.Reported.
	Previous json.RawMessage `json:"-"`
	Token    string          `json:"-"` // correlates the answer, at most 64 bytes
}

// An Inbound is one thing the cloud said; at most one of Desired, Command, Job and Answer is set.
type Inbound struct {
	Desired *Desired
	Command json.RawMessage // the envelope as it came
	Job     *Job
	Answer  *Answer
	Publish []Message // what the dialect wants said in return, such as asking for the full document after a delta
}

// Desired is the whole desired document. The device computes its own delta.
type Desired struct {
	Epoch   string // random for each lineage; a digest of the state where the writer gave none
	Version int64  // counts within the epoch; 0 where the writer gave none
	State   json.RawMessage
	// Reported is the device's half as the cloud holds it, nil where the dialect does not say.
	Reported json.RawMessage
	// Document counts the changes of either half, 0 where the cloud does not count them; see Watermark.
	Document int64
	// Absent means that the cloud holds no desired document: the last good one stays in force. Where the dialect answers
	// reports (Limits.AnswersState) and Reported is nil too, everything is reported anew with Previous nil.
	Absent bool
	// Refused says why the document cannot be read at all (too large, too deep, a key twice): State is nil, the last
	// good one stays in force, and the reason is for the refused list of the report, under the empty path.
	Refused string
}

// A Watermark tells stale documents from fresh ones, by Desired.Document. The zero value is ready; every connection
// begins with a new one, because a cloud may start its count again while the device is away.
type Watermark struct{ document int64 }

// Stale reports whether a newer document than d was seen on this connection. A deleted document starts the count again.
func (w *Watermark) Stale(d Desired) bool {
	switch {
	case d.Absent && d.Document == 0:
		w.document = 0
	case d.Document == 0:
	case d.Document < w.document:
		return true
	default:
		w.document = d.Document
	}
	return false
}

// A Job asks for an update. An empty Body clears it.
type Job struct{ Body json.RawMessage }

// An Answer closes a report of state; with a code other than 0 and the token of Opening it says that the question for
// the document was refused and wants to be asked again later. Tokens that are not ours belong to somebody else.
type Answer struct {
	Token   string
	Code    int // 0 accepted, else the cloud's error code
	Reason  string
	Version int64
}
