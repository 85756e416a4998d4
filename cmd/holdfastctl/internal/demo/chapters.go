package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/envelope"
	"holdfast/cmd/holdfastctl/internal/ledger"
	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/shadow"
)

// The agent measures once a firstPeriod, until the shadow makes that a secondPeriod.
const (
	firstPeriod  = 500 * time.Millisecond
	secondPeriod = time.Second
)

// telemetry waits for readings that only this machine can have made.
func (s *stage) telemetry(ctx context.Context) (string, error) {
	s.tell.say("The agent starts, and an independent subscriber listens at the broker.")
	w := s.watch
	err := s.await(ctx, "readings of processor, memory and load", func() bool {
		_, cpu := w.sample("cpu", "", "busy_ratio")
		_, memory := w.sample("memory", "", "used_ratio")
		_, load := w.sample("load", "", "load1")
		return w.status.Online && cpu && memory && load
	})
	if err != nil {
		return "", err
	}
	s.tell.fact("processor", "%.1f %% busy", 100*w.number("cpu", "busy_ratio"))
	s.tell.fact("memory", "%.1f %% of %.1f GiB used", 100*w.number("memory", "used_ratio"), w.number("memory", "total_bytes")/(1<<30))
	s.tell.fact("load", "%.2f, %.0f tasks can run", w.number("load", "load1"), w.number("load", "runnable_count"))
	if up, ok := w.sample("uptime", "", "uptime_seconds"); ok {
		n, _ := up.Number("uptime_seconds")
		s.tell.fact("up for", "%s", (time.Duration(n) * time.Second).String())
	}
	fields, sources := 0, map[string]bool{}
	for _, sample := range w.latest {
		fields += len(sample.Fields)
		sources[sample.Source] = true
	}
	return fmt.Sprintf("%d measures of %d sources", fields, len(sources)), nil
}

// desire writes a good change and a bad one, as an operator does, and reads the device's answers.
func (s *stage) desire(ctx context.Context) (string, error) {
	s.tell.command("shadow set demo period=1s labels.site=bench")
	good := map[string]any{"period": secondPeriod.String(), "labels": map[string]any{"site": "bench"}}
	answer, err := s.write(ctx, good)
	if err != nil {
		return "", err
	}
	labels, _ := answer.State["labels"].(map[string]any)
	if answer.State["period"] != good["period"] || labels["site"] != "bench" || len(answer.Refused) > 0 {
		return "", fmt.Errorf("version %d was not taken over: period is %v, labels %v, refused %v",
			answer.Version, answer.State["period"], answer.State["labels"], answer.Refused)
	}
	s.tell.fact("applied", "the device reports version %d: period %v, labels.site %v", answer.Version, answer.State["period"], labels["site"])
	apart, err := s.slower(ctx)
	if err != nil {
		return "", err
	}
	s.tell.fact("obeyed", "samples of the processor are now %.1f s apart; they were %.1f s", apart.Seconds(), firstPeriod.Seconds())
	s.tell.command("shadow set demo relays.pmup=true cpu=high")
	if answer, err = s.write(ctx, map[string]any{"relays": map[string]any{"pmup": true}, "cpu": "high"}); err != nil {
		return "", err
	}
	for _, path := range slices.Sorted(maps.Keys(answer.Refused)) {
		s.tell.fact("refused", "%s: %s", message.Clean(path, 60), message.Clean(answer.Refused[path], 120))
	}
	switch {
	case answer.Refused["relays.pmup"] == "" || answer.Refused["cpu"] == "":
		return "", fmt.Errorf("version %d: relays.pmup and cpu should have been refused, each with its reason; refused are %v", answer.Version, answer.Refused)
	case answer.State["period"] != good["period"]:
		return "", fmt.Errorf("version %d: the bad change has undone the good one: period is %v", answer.Version, answer.State["period"])
	}
	return fmt.Sprintf("1 applied, 1 refused for %d reasons", len(answer.Refused)), nil
}

// write puts a change over the desired document, and returns the device's answer as the subscriber sees it.
func (s *stage) write(ctx context.Context, change map[string]any) (shadow.Document, error) {
	var want shadow.Document
	err := s.operate(ctx, func(mq *client.Client) error {
		twin, err := shadow.Read(ctx, mq, deviceID)
		if err != nil {
			return err
		}
		err = twin.Write(ctx, false, func(state map[string]any) map[string]any { return shadow.Merge(state, change) })
		want = twin.Desired
		return err
	})
	if err != nil {
		return shadow.Document{}, fmt.Errorf("write the desired document: %w", err)
	}
	err = s.await(ctx, fmt.Sprintf("the device's answer to version %d", want.Version), func() bool {
		return s.watch.reported.Version > 0 && s.watch.reported.Answers(want)
	})
	return s.watch.reported, err
}

// slower waits until samples of the processor are about secondPeriod apart, and returns how far they are.
func (s *stage) slower(ctx context.Context) (apart time.Duration, err error) {
	const enough = (firstPeriod + secondPeriod) / 2
	began, before := time.Now(), time.Time{} // a sample from before the change says nothing
	err = s.await(ctx, "samples at the desired period", func() bool {
		now := s.watch.latest["cpu/"].Time
		if now.After(began) && now.After(before) {
			if !before.IsZero() {
				apart = now.Sub(before)
			}
			before = now
		}
		return apart > enough
	})
	return apart, err
}

// order sends a command and returns its answer as the subscriber sees it.
func (s *stage) order(ctx context.Context, name string, args map[string]any) (json.RawMessage, error) {
	s.issued++
	e := envelope.New("demo", s.issued, name, args, time.Now(), time.Minute)
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if err := s.operate(ctx, func(mq *client.Client) error {
		return mq.Publish(ctx, "holdfast/"+deviceID+"/command", body, false)
	}); err != nil {
		return nil, err
	}
	if err := s.await(ctx, "the answer to "+name, func() bool { return s.watch.results[e.ID].ID != "" }); err != nil {
		return nil, err
	}
	r := s.watch.results[e.ID]
	if !r.OK {
		return nil, fmt.Errorf("%s: the device answers: %s", name, message.Clean(r.Error, 200))
	}
	return r.Result, nil
}

// relay switches the pump on, and believes nobody alone: not the answer, not the reported state, not the line.
func (s *stage) relay(ctx context.Context) (string, error) {
	if s.agent.lines[pump].Level() {
		return "", errors.New("the pump is on before anybody switched it")
	}
	s.tell.command("command demo relay.set name=pump on=true")
	result, err := s.order(ctx, "relay.set", map[string]any{"name": pump, "on": true})
	if err != nil {
		return "", err
	}
	s.tell.fact("answer", "%s", message.Clean(string(result), 120))
	if !s.agent.lines[pump].Level() {
		return "", errors.New("the device answers that the pump is on, and its line is low")
	}
	s.tell.fact("line", "the simulated pump is high")
	if err := s.sees(ctx, pump, true, time.Time{}); err != nil {
		return "", err
	}
	s.tell.fact("measured", "gpio pump is high")
	s.tell.say("The state as a whole is reported within ten seconds.")
	if err := s.await(ctx, "the pump in the reported state", func() bool {
		relays, _ := s.watch.reported.State["relays"].(map[string]any)
		return relays[pump] == true
	}); err != nil {
		return "", err
	}
	s.tell.fact("reported", "relays.pump is true")
	return "on, by answer, line, telemetry and reported state", nil
}

// sees waits until telemetry has a line at a level, in a sample taken after a time.
func (s *stage) sees(ctx context.Context, name string, high bool, after time.Time) error {
	what := fmt.Sprintf("a sample of line %s that is %s", name, level(high))
	return s.await(ctx, what, func() bool {
		sample, ok := s.watch.sample("gpio", name, "high")
		return ok && sample.Fields["high"] == high && sample.Time.After(after)
	})
}

func level(high bool) string {
	if high {
		return "high"
	}
	return "low"
}

// input opens the door of the simulated board, and waits until that is measured.
func (s *stage) input(ctx context.Context) (string, error) {
	if err := s.sees(ctx, door, false, time.Time{}); err != nil {
		return "", err
	}
	s.tell.say("Somebody opens the door: its contact, a simulated line, goes high.")
	opened := time.Now()
	s.agent.lines[door].Set(true)
	if err := s.sees(ctx, door, true, opened); err != nil {
		return "", err
	}
	took := time.Since(opened).Seconds()
	s.tell.fact("measured", "gpio door is high, %.1f s later", took)
	return fmt.Sprintf("door open, seen after %.1f s", took), nil
}

// cut takes the link away, lets something happen meanwhile, and sees all of it arrive once the link is back.
func (s *stage) cut(ctx context.Context) (string, error) {
	s.tell.say("The link between agent and broker is cut for %s.", s.o.Cut)
	w := s.watch
	began := time.Now()
	s.cable.cut()
	if err := s.noticed(ctx); err != nil {
		return "", err
	}
	quiet := len(w.rounds)
	if err := s.pass(ctx, began.Add(s.o.Cut/2)); err != nil {
		return "", err
	}
	s.tell.fact("meanwhile", "the door is closed, and nobody can be told")
	closed := time.Now()
	s.agent.lines[door].Set(false)
	if err := s.pass(ctx, began.Add(s.o.Cut)); err != nil {
		return "", err
	}
	if n := len(w.rounds) - quiet; n > 0 {
		return "", fmt.Errorf("records that arrived over a link that is cut: %d", n)
	}
	if l, err := s.agent.link(ctx); err == nil && l.waiting > 0 {
		s.tell.fact("kept", "%d records wait in the agent", l.waiting)
	}
	mended := time.Now()
	s.cable.mend()
	if err := s.await(ctx, "the agent at the broker again", func() bool { return w.status.Online }); err != nil {
		return "", err
	}
	s.tell.fact("link", "back; the agent was there again after %.1f s", time.Since(mended).Seconds())
	if err := s.sees(ctx, door, false, closed); err != nil {
		return "", err
	}
	if err := s.await(ctx, "telemetry from after the cut", func() bool {
		return len(w.rounds) > 0 && w.rounds[len(w.rounds)-1].first.After(mended)
	}); err != nil {
		return "", err
	}
	kept := w.between(began, mended)
	s.tell.fact("arrived", "%d records with samples from the cut; the door is closed", kept)
	switch {
	case kept == 0:
		return "", errors.New("no record has samples from the time of the cut")
	case w.behind > 0:
		return "", fmt.Errorf("records that arrived after later ones: %d", w.behind)
	}
	return fmt.Sprintf("%d records kept for %.0f s, then delivered in order", kept, mended.Sub(began).Seconds()), nil
}

// noticed waits until both sides know that the link is gone.
func (s *stage) noticed(ctx context.Context) error {
	if err := s.await(ctx, "the agent's will at the broker", func() bool { return !s.watch.status.Online }); err != nil {
		return err
	}
	s.tell.fact("broker", "demo is offline (its will)")
	var l link
	if err := s.await(ctx, "the agent noticing that its link is down", func() bool {
		var err error
		l, err = s.agent.link(ctx)
		return err == nil && !l.up
	}); err != nil {
		return err
	}
	s.tell.fact("agent", "link down: %s", message.Clean(l.why, 120))
	return nil
}

// count stops the agent in order, so that the last record is known, and compares what the subscriber has with what the
// agent made.
func (s *stage) count(ctx context.Context) (string, error) {
	s.tell.say("The agent is stopped in order. The subscriber has kept account from the start.")
	s.agent.stop()
	timer := time.NewTimer(s.o.Patience)
	defer timer.Stop()
	select {
	case <-s.agent.ended:
	case <-timer.C:
		return "", fmt.Errorf("the agent has not stopped within %s", s.o.Patience)
	}
	if err := s.agent.err(); err != nil {
		return "", fmt.Errorf("the agent: %w", err)
	}
	if err := s.watch.catchUp(ctx, s.o.Patience); err != nil {
		return "", fmt.Errorf("read what the broker still has: %w", err)
	}
	if s.watch.status.Online || s.watch.status.Reason != stopped {
		return "", fmt.Errorf("the agent's last words should be offline, %s; the broker has online %t, %q",
			stopped, s.watch.status.Online, message.Clean(s.watch.status.Reason, 60))
	}
	session, last := s.agent.newest()
	return s.audit(session, last)
}

// stopped is the reason an agent gives that ends in order; its will gives none.
const stopped = "stopped"

// audit holds the subscriber's account against the agent's own.
func (s *stage) audit(session string, last uint64) (string, error) {
	if last == 0 {
		return "", errors.New("the agent says that it made no record")
	}
	if err := s.watch.book.Expect(ledger.Key{Device: deviceID, Session: session}, ledger.Range{First: 1, Last: last}); err != nil {
		return "", err
	}
	r := s.watch.book.Report()
	s.tell.fact("made", "%d records in session %s, says the agent", last, message.Clean(session, 40))
	s.tell.fact("received", "%d records, says the subscriber, and %d of them again", r.Records, r.Duplicates)
	s.tell.fact("missing", "%d", r.Missing+r.Declared)
	switch {
	case len(r.Sessions) != 1:
		return "", fmt.Errorf("records of %d sessions, and the agent started once", len(r.Sessions))
	case !r.Complete() || r.Declared > 0:
		return "", fmt.Errorf("%d of %d records are missing: %s", r.Missing+r.Declared, last, missing(r.Sessions[0]))
	case r.Records != last:
		return "", fmt.Errorf("%d records received, and the agent made %d", r.Records, last)
	}
	return fmt.Sprintf("%d made, %d received, %d twice, 0 missing", last, r.Records, r.Duplicates), nil
}

// missing names the first few ranges.
func missing(of ledger.Session) string {
	var list []string
	for _, r := range slices.Concat(of.Missing, of.Declared) {
		if len(list) == 8 {
			list = append(list, "and more")
			break
		}
		list = append(list, r.String())
	}
	return strings.Join(list, ", ")
}
