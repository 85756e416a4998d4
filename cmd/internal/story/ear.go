//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"holdfast/cmd/internal/lab"
)

// A message is one that the subscriber heard.
type message struct {
	topic string // below holdfast/<id>/
	body  []byte
}

// A record is what telemetry and events have in common, and some of what events carry.
type record struct {
	Session string
	Seq     uint64
	Kind    string
	Phase   string
	Reason  string
	Samples []struct {
		Source, Instance string
		Trusted          bool
		Fields           map[string]any
	}
}

// An ear is mosquitto_sub: an independent client that hears everything about the board, at QoS 1.
type ear struct {
	mu       sync.Mutex
	messages []message
	changed  chan struct{}
}

// listen starts the subscriber, and waits until it has been heard by the broker.
func (s *site) listen(ctx context.Context) error {
	e := &ear{changed: make(chan struct{})}
	s.heard = e
	cmd := exec.Command("mosquitto_sub", "-h", here, "-p", "8883", "--cafile", "pki/ca.crt", "--cert", "pki/operators/ann.crt",
		"--key", "pki/operators/ann.key", "-i", "listener", "-c", "-q", "1", "-F", "%t %p", "-t", "holdfast/"+id+"/#", "-t", "lab/#")
	cmd.Dir, cmd.Stderr = s.dir, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	log, err := os.Create(s.path("heard.log"))
	if err != nil {
		return err
	}
	// The broker may not listen yet: the subscriber ends at once then, and is started again.
	if err := s.until(ctx, func() error {
		return s.do(ctx, "mosquitto_pub", "-h", here, "-p", "8883", "--cafile", "pki/ca.crt", "--cert", "pki/operators/ann.crt",
			"--key", "pki/operators/ann.key", "-r", "-t", "lab/ready", "-m", "1")
	}); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.later(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	go func() {
		defer log.Close()
		in := bufio.NewScanner(io.TeeReader(out, log))
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			topic, body, _ := strings.Cut(in.Text(), " ")
			e.mu.Lock()
			e.messages = append(e.messages, message{strings.TrimPrefix(topic, "holdfast/"+id+"/"), []byte(body)})
			close(e.changed)
			e.changed = make(chan struct{})
			e.mu.Unlock()
		}
	}()
	_, err = e.wait(ctx, 0, func(m message) bool { return m.topic == "lab/ready" })
	return err
}

// count returns how many messages there are: what wait is given to hear only those that come.
func (e *ear) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.messages)
}

func (e *ear) since(from int) []message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]message(nil), e.messages[from:]...)
}

// wait returns the first message from a number on that fits.
func (e *ear) wait(ctx context.Context, from int, fits func(message) bool) (message, error) {
	for i := from; ; {
		e.mu.Lock()
		for ; i < len(e.messages); i++ {
			if m := e.messages[i]; fits(m) {
				e.mu.Unlock()
				return m, nil
			}
		}
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			last := ""
			for _, m := range e.since(max(0, e.count()-3)) {
				last += fmt.Sprintf("\n%s %.300s", m.topic, m.body)
			}
			return message{}, fmt.Errorf("broker: %w; the last messages:%s", context.Cause(ctx), last)
		}
	}
}

// records returns telemetry and events from a message on.
func (e *ear) records(from int) (out []record, err error) {
	for _, m := range e.since(from) {
		if m.topic != "telemetry" && m.topic != "event" {
			continue
		}
		var r record
		if err := json.Unmarshal(m.body, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", m.topic, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// whole counts the records that were heard from a message on, and reports what is missing between the first and the last of
// each session.
func (e *ear) whole(from int) (records int, err error) {
	all, err := e.records(from)
	if err != nil {
		return 0, err
	}
	var tally lab.Tally
	for _, r := range all {
		tally.Add(r.Session, r.Seq)
	}
	return tally.Count(), tally.Missing()
}
