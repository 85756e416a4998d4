package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/agent/shadow"
	"holdfast/board/strict"
)

// shadowService is as much of AWS IoT's shadow service as a device sees: it merges, counts versions, and answers every
// request ("Device Shadow MQTT topics" and "Device Shadow service documents" of the developer guide).
type shadowService struct {
	t      *testing.T
	broker *linktest.Broker
	prefix string
	stop   func()

	mu      sync.Mutex
	exists  bool
	state   map[string]any
	stamps  map[string]any // metadata: member to {"timestamp":…}, one level deep as the tests write
	version int
	updates int
	gets    int
	refuse  int // so many requests for the document are refused with 500
}

func serve(t *testing.T, b *linktest.Broker, thing string) *shadowService {
	s := &shadowService{t: t, broker: b, prefix: "$aws/things/" + thing + "/shadow/", state: map[string]any{}, stamps: map[string]any{}}
	conn := b.Conn(link.Session{ClientID: "service", Filters: []string{s.prefix + "get", s.prefix + "update"}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := conn.Run(ctx, func(e link.Event) {
			if e.Message != nil {
				s.take(*e.Message)
			}
		}); err != nil {
			t.Error(err)
		}
	}()
	s.stop = func() { cancel(); <-done }
	return s
}

func (s *shadowService) answer(part string, body map[string]any) {
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Error(err)
	}
	s.broker.Publish(link.Message{Topic: s.prefix + part, Payload: b, QoS: 1})
}

func (s *shadowService) reject(part, token string, code int, why string) {
	s.answer(part+"/rejected", map[string]any{"code": code, "message": why, "timestamp": time.Now().Unix(), "clientToken": token})
}

func (s *shadowService) take(m link.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	part := strings.TrimPrefix(m.Topic, s.prefix)
	v, err := strict.Tree(m.Payload, strict.Limits{Bytes: 128 << 10, Depth: 12})
	request, ok := v.(map[string]any)
	if err != nil || !ok {
		s.reject(part, "", 400, fmt.Sprint(err))
		return
	}
	token, _ := request["clientToken"].(string)
	switch {
	case part == "update":
		s.update(request, token)
	case s.refuse > 0:
		s.refuse--
		s.reject(part, token, 500, "internal failure")
	case !s.exists:
		s.gets++
		s.reject(part, token, 404, "No shadow exists with name")
	default:
		s.gets++
		s.answer("get/accepted", map[string]any{"state": s.state, "metadata": map[string]any{"desired": s.stamps}, "version": s.version,
			"timestamp": time.Now().Unix(), "clientToken": token})
	}
}

// update is called with the lock held.
func (s *shadowService) update(request map[string]any, token string) {
	patch, _ := request["state"].(map[string]any)
	next := shadow.Merge(s.state, patch)
	size := len(shadow.Canonical(next))
	if size > 8<<10 || shadow.Depth(next) > 7 {
		s.reject("update", token, 413, "The payload exceeds the maximum size allowed.")
		return
	}
	for _, half := range []string{"desired", "reported"} { // a whole half is deleted with null, never left empty
		if h, ok := next[half].(map[string]any); ok && len(h) == 0 {
			delete(next, half)
		}
	}
	s.state, s.exists = next, true
	s.version++
	s.updates++
	if d, _ := patch["desired"].(map[string]any); d != nil {
		for k := range d {
			s.stamps[k] = map[string]any{"timestamp": time.Now().Unix()}
		}
	}
	s.answer("update/accepted", map[string]any{"state": patch, "version": s.version, "timestamp": time.Now().Unix(), "clientToken": token})
	desired, _ := s.state["desired"].(map[string]any)
	reported, _ := s.state["reported"].(map[string]any)
	delta := shadow.Diff(reported, desired)
	for k, v := range delta {
		if v == nil { // what only reported has is no delta
			delete(delta, k)
		}
	}
	if len(delta) > 0 {
		s.answer("update/delta", map[string]any{"state": delta, "version": s.version, "timestamp": time.Now().Unix()})
	}
}

// desire is what the operator writes.
func (s *shadowService) desire(t *testing.T, state string) {
	s.mu.Lock()
	s.update(map[string]any{"state": map[string]any{"desired": tree(t, state)}}, "operator")
	s.mu.Unlock()
	synctest.Wait()
}

func (s *shadowService) reported(path string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, _ := s.state["reported"].(map[string]any)
	v, _ := shadow.Lookup(r, path)
	return v
}

func (s *shadowService) count() (gets, updates int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gets, s.updates
}

// whole is the reported half, as text.
func (s *shadowService) whole() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(shadow.Canonical(s.state["reported"]))
}

func TestAWSShadowFromEndToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.parts.Dialect = link.AWS{Thing: device}
		s := serve(t, r.broker, device)
		s.mu.Lock()
		s.refuse = 1 // the first question is refused: it is asked again
		s.mu.Unlock()
		defer s.stop()
		defer r.stop()
		r.start()
		r.pass(30 * time.Second)
		if gets, _ := s.count(); gets == 0 || s.reported("period") != "10s" || s.reported("holdfast.version") == nil {
			t.Fatalf("%d questions, reported: %v", gets, s.reported("period"))
		}
		s.desire(t, `{"period":"5s","relays":{"pump":true,"fan":true},"labels":{"site":"north","row":"7"}}`)
		r.pass(30 * time.Second)
		if s.reported("period") != "5s" || s.reported("relays.pump") != true || s.reported("labels.row") != "7" || !r.pump.Level() {
			t.Errorf("reported: %v", s.whole())
		}
		refused, _ := s.reported("holdfast.refused").([]any)
		if len(refused) != 1 || !strings.Contains(mustJSON(t, refused), "relays.fan") {
			t.Errorf("refused: %v", refused)
		}
		s.desire(t, `{"labels":{"row":null},"relays":{"fan":null}}`)
		r.pass(30 * time.Second)
		if s.reported("labels.row") != nil || s.reported("labels.site") != "north" || s.reported("holdfast.refused") != nil {
			t.Errorf("a member that is no longer desired is still reported: %v", s.whole())
		}
		r.broker.Cut(device)
		r.broker.Down()
		s.desire(t, `{"period":"6s"}`)
		r.pass(10 * time.Minute)
		r.broker.Up()
		r.pass(time.Minute)
		if s.reported("period") != "6s" {
			t.Errorf("what was desired while the device was away is not applied: %v", s.whole())
		}
		_, before := s.count()
		r.pass(time.Hour)
		if _, n := s.count(); n-before > 60 {
			t.Errorf("%d updates in an hour in which nothing was desired", n-before)
		}
		r.stop()
		if a := r.whole(); a.told > 0 || a.records < 100 {
			t.Errorf("%+v", a)
		}
	})
}
