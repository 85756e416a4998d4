package link

import (
	"fmt"
	"strings"
	"time"

	"holdfast/agent/shadow"
	"holdfast/board/strict"
)

const (
	stateBytes        = 8 << 10  // state document, unless the configuration says otherwise
	stateBytesAtMost  = 32 << 10 // and the most it may say
	stateDepth        = 8
	envelopeBytes     = 1 << 10 // around a state document
	inFlight          = 16
	answerStateWithin = 10 * time.Second
)

// Plain is the dialect of any MQTT 3.1.1 broker: its retained messages are the shadow store, and no part of ours runs
// beside it. docs/topics.md has the table.
type Plain struct {
	Device     string        // 1 to 64 of letters, digits, _ . -
	Root       string        // before every topic, levels of the same; "" is holdfast
	User       string        // "" for none
	Password   string        //
	KeepAlive  time.Duration // 30 s to 20 min; 0 is 60 s
	StateBytes int           // largest state document, at most 32 KiB; 0 is 8 KiB
}

// Check tells what is wrong with the fields. Encode and Session are only right when it returned nil.
func (p Plain) Check() error {
	if err := checkName("device id", p.Device, deviceBytes, "_.-"); err != nil {
		return err
	}
	if p.StateBytes < 0 || p.StateBytes > stateBytesAtMost {
		return fmt.Errorf("state document of %d bytes, at most %d", p.StateBytes, stateBytesAtMost)
	}
	if p.User == "" && p.Password != "" {
		return fmt.Errorf("password without a user") // MQTT 3.1.1, 3.1.2.9
	}
	return checkRoot(p.root())
}

func (p Plain) root() string {
	if p.Root == "" {
		return root
	}
	return p.Root
}

func (p Plain) topic(part string) string { return p.root() + "/" + p.Device + "/" + part }

func (p Plain) limits() Limits {
	l := Limits{
		PayloadBytes: payloadCap, InFlight: inFlight, StateBytes: p.StateBytes, StateDepth: stateDepth,
		Retains: true, OrderedCommands: true,
	}
	if l.StateBytes == 0 {
		l.StateBytes = stateBytes
	}
	return l
}

// Session implements Dialect: a persistent session under the device's id, whose will says that it is offline.
func (p Plain) Session() Session {
	s := Session{
		ClientID:  p.Device,
		KeepAlive: clampKeepAlive(p.KeepAlive),
		Will:      &Message{Topic: p.topic("status"), Payload: []byte(`{"online":false}`), QoS: 1, Retain: true},
		Filters:   []string{p.topic("shadow/desired"), p.topic("command"), p.topic("job")},
		Limits:    p.limits(),
	}
	if p.User != "" {
		s.Credentials = func(time.Time) (user, password string, err error) { return p.User, p.Password, nil }
	}
	return s
}

// Opening implements Dialect. There is nothing to ask: the broker sends what it retains.
func (p Plain) Opening(string) []Message { return nil }

// Encode implements Dialect.
func (p Plain) Encode(o Outbound) (Message, error) {
	part, payload, err := o.plain()
	if err != nil {
		return Message{}, err
	}
	m := Message{Payload: payload, QoS: 1}
	switch part {
	case "": // a report of state
		part, m.Retain = "shadow/reported", true
		if m.Payload, err = body(o.Reported); err != nil {
			return Message{}, fmt.Errorf("shadow/reported: %w", err)
		}
	case "status", "job/status":
		m.Retain = true
	}
	m.Topic = p.topic(part)
	return m, checkMessage(m, payloadCap)
}

// Decode implements Dialect.
func (p Plain) Decode(m Message) (Inbound, error) {
	part, ours := strings.CutPrefix(m.Topic, p.topic(""))
	if part == "shadow/desired" && ours {
		return Inbound{Desired: p.desired(m.Payload)}, nil
	}
	if err := checkMessage(m, payloadCap); err != nil {
		return Inbound{}, err
	}
	switch {
	case ours && part == "command":
		return command(m)
	case ours && part == "job":
		return Inbound{Job: &Job{Body: m.Payload}}, nil
	}
	return Inbound{}, fmt.Errorf("%q: not a topic of this device", m.Topic)
}

// desired reads {"epoch":…,"version":…,"state":{…}}, and the same document in the form other shadows know it,
// {"state":{"desired":{…}}}. An empty payload is how a broker forgets a retained message.
func (p Plain) desired(payload []byte) *Desired {
	if len(payload) == 0 {
		return &Desired{Absent: true}
	}
	limits := p.limits()
	document, err := shadow.Parse(payload, strict.Limits{
		Bytes:        limits.StateBytes + envelopeBytes,
		Depth:        limits.StateDepth + 2, // the state lies one level below the top, or two in the other form
		Members:      members,
		AllowUnknown: true,
	})
	if err != nil {
		return &Desired{Refused: err.Error()}
	}
	if v, null := document.State["desired"]; null && v == nil && len(document.State) == 1 {
		return &Desired{Absent: true} // how the other form withdraws its wishes
	}
	d := Desired{Epoch: document.Epoch, Version: document.Version}
	if d.Version == 0 {
		d.Epoch = digest(document.State)
	}
	if d, err = finish(d, document.State, limits); err != nil {
		d.Refused = err.Error()
	}
	return &d
}
