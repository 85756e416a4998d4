package link

import (
	"fmt"
	"strconv"
	"strings"

	"holdfast/agent/shadow"
)

// reasonBytes bounds what we repeat of somebody else's text.
const reasonBytes = 256

// Decode implements Dialect.
func (a AWS) Decode(m Message) (Inbound, error) {
	if err := checkMessage(m, awsPayloadBytes); err != nil {
		return Inbound{}, err
	}
	if part, ours := strings.CutPrefix(m.Topic, a.shadow("")); ours {
		in, err := a.answer(part, m)
		if err != nil {
			return Inbound{}, fmt.Errorf("%s: %w", m.Topic, err)
		}
		return in, nil
	}
	switch m.Topic {
	case a.own("command"):
		return command(m)
	case a.own("job"):
		return Inbound{Job: &Job{Body: m.Payload}}, nil
	}
	return Inbound{}, fmt.Errorf("%q: not a topic of this thing", m.Topic)
}

func (a AWS) answer(part string, m Message) (Inbound, error) {
	tree, err := readObject(m.Payload, awsPayloadBytes, awsAnswerDepth)
	if part == "get/accepted" && err != nil {
		return Inbound{Desired: &Desired{Refused: err.Error()}}, nil
	}
	if err != nil {
		return Inbound{}, err
	}
	version, err := counter(tree, "version")
	if err != nil {
		return Inbound{}, err
	}
	// A token that is too long is not ours.
	token := text(tree, "clientToken", awsTokenBytes)
	again := []Message{a.get("version-" + strconv.FormatInt(version, 10))}
	switch part {
	case "get/accepted":
		return Inbound{Desired: awsDesired(tree, version)}, nil
	case "update/delta":
		// The device works from the whole document: a delta may be one of several outstanding, or come late.
		return Inbound{Publish: again}, nil
	case "update/accepted":
		in := Inbound{Answer: &Answer{Token: token, Version: version}}
		if state, there, _ := object(tree, "state"); there {
			if _, changed := state["desired"]; changed { // a member that was deleted makes no delta
				in.Publish = again
			}
		}
		return in, nil
	case "delete/accepted":
		return Inbound{Desired: &Desired{Absent: true}}, nil
	case "get/rejected", "update/rejected":
		return awsRejected(tree, part, token)
	}
	return Inbound{}, fmt.Errorf("not a topic this dialect asked for")
}

// awsRejected reads {"code":409,"message":…,"clientToken":…}. No document is not a fault: it is how every thing begins.
func awsRejected(tree map[string]any, part, token string) (Inbound, error) {
	code, err := counter(tree, "code")
	if err != nil {
		return Inbound{}, err
	}
	if code < 400 || code > 599 {
		return Inbound{}, fmt.Errorf("rejected with code %d", code)
	}
	if code == 404 && part == "get/rejected" {
		return Inbound{Desired: &Desired{Absent: true}}, nil
	}
	reason, _ := tree["message"].(string)
	if len(reason) > reasonBytes {
		reason = strings.ToValidUTF8(reason[:reasonBytes], "")
	}
	return Inbound{Answer: &Answer{Token: token, Code: int(code), Reason: reason}}, nil
}

// awsDesired takes the desired half out of a whole document. The service's version counts the changes of both halves,
// so that a device which went by it would answer its own reports for ever: the lineage is the digest of the desired
// half, and the version within it the newest second in which a member of it was written.
func awsDesired(tree map[string]any, document int64) *Desired {
	d := Desired{Document: document}
	refuse := func(err error) *Desired {
		d.Epoch, d.State, d.Reported, d.Refused = "", nil, nil, err.Error()
		return &d
	}
	state, _, err := object(tree, "state")
	if err != nil {
		return refuse(err)
	}
	reported, there, err := object(state, "reported")
	if err != nil {
		return refuse(err)
	}
	if there {
		delete(reported, awsNote)
		d.Reported = shadow.Canonical(reported)
	}
	desired, there, err := object(state, "desired")
	if err != nil {
		return refuse(err)
	}
	if !there { // the shadow only holds our report
		d.Absent = true
		return &d
	}
	if metadata, _, err := object(tree, "metadata"); err == nil {
		d.Version = newest(metadata["desired"])
	}
	d.Epoch = digest(desired)
	d, err = finish(d, desired, Limits{StateBytes: awsStateBytes, StateDepth: awsStateDepth})
	if err != nil {
		return refuse(err)
	}
	return &d
}

// newest returns the latest timestamp in a tree of metadata, in seconds since 1970.
func newest(v any) (seconds int64) {
	switch v := v.(type) {
	case map[string]any:
		for name, child := range v {
			if at, leaf := whole(child); leaf && name == "timestamp" {
				seconds = max(seconds, at)
				continue
			}
			seconds = max(seconds, newest(child))
		}
	case []any:
		for _, child := range v {
			seconds = max(seconds, newest(child))
		}
	}
	return seconds
}
