package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/agent/shadow"
)

// Bounds of AWS IoT Core, from "AWS IoT Device Shadow endpoints and quotas" and the developer guide's error messages.
const (
	awsPayloadBytes = 128 << 10
	awsStateBytes   = 8 << 10 // desired and reported together, without metadata
	awsStateDepth   = 5       // one page says 6, another 8
	awsThingBytes   = 128
	awsShadowBytes  = 64
	awsTokenBytes   = 64
	awsAnswerDepth  = 12 // metadata mirrors the state below two levels of its own and ends in an object
	awsPause        = time.Second
)

// awsNote is our member of the reported half: which document was answered, and what of it was refused. A device does not
// react to members that only reported has, so it never becomes a delta.
const awsNote = "holdfast"

// AWS is the dialect of AWS IoT Core's device shadows, classic and named. The service merges, keeps no retained shadow
// and answers every request; telemetry, events and commands travel on topics of our own.
type AWS struct {
	Thing     string        // 1 to 128 of letters, digits, : _ -
	Shadow    string        // "" is the classic shadow, else 1 to 64 of letters, digits, $ : _ -
	Root      string        // before our own topics; "" is holdfast
	KeepAlive time.Duration // 30 s to 20 min; 0 is 60 s
}

// Check tells what is wrong with the fields. Encode and Session are only right when it returned nil.
func (a AWS) Check() error {
	if err := checkName("thing name", a.Thing, awsThingBytes, ":_-"); err != nil {
		return err
	}
	if a.Shadow != "" {
		if err := checkName("shadow name", a.Shadow, awsShadowBytes, "$:_-"); err != nil {
			return err
		}
	}
	if err := checkRoot(a.root()); err != nil {
		return err
	}
	// The service takes at most seven slashes and 256 bytes; command/result is the longest of ours.
	if longest := a.own("command/result"); strings.Count(longest, "/") > 7 || len(longest) > topicBytes {
		return fmt.Errorf("root %q makes topics longer than AWS IoT takes", a.Root)
	}
	return nil
}

func (a AWS) root() string {
	if a.Root == "" {
		return root
	}
	return a.Root
}

func (a AWS) own(part string) string { return a.root() + "/" + a.Thing + "/" + part }

func (a AWS) shadow(part string) string {
	if a.Shadow == "" {
		return "$aws/things/" + a.Thing + "/shadow/" + part
	}
	return "$aws/things/" + a.Thing + "/shadow/name/" + a.Shadow + "/" + part
}

// Session implements Dialect: eight filters, as many as the service takes in one SUBSCRIBE.
func (a AWS) Session() Session {
	s := Session{
		ClientID:  a.Thing,
		KeepAlive: clampKeepAlive(a.KeepAlive),
		Will:      &Message{Topic: a.own("status"), Payload: []byte(`{"online":false}`), QoS: 1},
		Limits: Limits{
			PayloadBytes: awsPayloadBytes, InFlight: inFlight, StateBytes: awsStateBytes, StateDepth: awsStateDepth,
			StateMinPause: awsPause, AnswersState: true, AnswerWithin: answerStateWithin,
		},
	}
	for _, part := range []string{
		"get/accepted", "get/rejected", "update/accepted", "update/rejected", "update/delta", "delete/accepted",
	} {
		s.Filters = append(s.Filters, a.shadow(part)) // never shadow/#: the service may add topics
	}
	s.Filters = append(s.Filters, a.own("command"), a.own("job"))
	return s
}

// Opening implements Dialect: deltas that were sent while the device was away are gone, so it asks for the document.
func (a AWS) Opening(token string) []Message { return []Message{a.get(token)} }

func (a AWS) get(token string) Message {
	payload, _ := json.Marshal(struct { // a struct of a string cannot go wrong
		Token string `json:"clientToken,omitempty"`
	}{token})
	return Message{Topic: a.shadow("get"), Payload: payload, QoS: 1}
}

// Encode implements Dialect. Nothing is retained.
func (a AWS) Encode(o Outbound) (Message, error) {
	part, payload, err := o.plain()
	if err != nil {
		return Message{}, err
	}
	m := Message{Topic: a.own(part), Payload: payload, QoS: 1}
	if part == "" {
		m.Topic = a.shadow("update")
		if m.Payload, err = awsUpdate(*o.Reported); err != nil {
			return Message{}, fmt.Errorf("%s: %w", m.Topic, err)
		}
	}
	return m, checkMessage(m, awsPayloadBytes)
}

// awsUpdate returns the request document. The service merges it, so what is no longer in the state is sent as null; the
// note's list is an array, which the service replaces whole.
func awsUpdate(r Reported) ([]byte, error) {
	if len(r.Token) > awsTokenBytes {
		return nil, fmt.Errorf("token of %d bytes, more than %d", len(r.Token), awsTokenBytes)
	}
	state, err := readObject(r.State, awsStateBytes, awsStateDepth)
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	if _, taken := state[awsNote]; taken {
		return nil, fmt.Errorf("state has a member %s, which is the agent's own", awsNote)
	}
	if nullInArray(state) {
		return nil, errors.New("state has an array with null in it, which the service refuses")
	}
	patch := shadow.Prune(state) // a null would be a delete
	if r.Previous != nil {
		previous, err := readObject(r.Previous, awsPayloadBytes, awsAnswerDepth)
		if err != nil {
			return nil, fmt.Errorf("previous state: %w", err)
		}
		delete(previous, awsNote)
		patch = shadow.Diff(previous, state)
	}
	patch[awsNote] = awsNoteOf(r)
	request := map[string]any{"state": map[string]any{"reported": patch}}
	if r.Token != "" {
		request["clientToken"] = r.Token
	}
	payload := shadow.Canonical(request)
	if len(payload) > 2*awsStateBytes {
		return nil, fmt.Errorf("request of %d bytes, more than %d", len(payload), 2*awsStateBytes)
	}
	return payload, nil
}

func awsNoteOf(r Reported) map[string]any {
	note := map[string]any{"epoch": nil, "version": r.Version, "refused": nil} // null deletes what an earlier note said
	if r.Epoch != "" {
		note["epoch"] = r.Epoch
	}
	if len(r.Refused) > 0 {
		list := make([]any, 0, len(r.Refused))
		for _, path := range slices.Sorted(maps.Keys(r.Refused)) {
			list = append(list, map[string]any{"path": path, "reason": r.Refused[path]})
		}
		note["refused"] = list
	}
	return note
}

func nullInArray(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, child := range v {
			if nullInArray(child) {
				return true
			}
		}
	case []any:
		for _, child := range v {
			if child == nil || nullInArray(child) {
				return true
			}
		}
	}
	return false
}
