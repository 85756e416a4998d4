//go:build linux

package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"holdfast/cmd/holdfastctl/internal/demo"
)

// TestMain lets the tests run side by side: they wait more than they work.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	m.Run()
}

// short are options for a demo that takes as long as it must.
func short(t *testing.T, out io.Writer) demo.Options {
	t.Helper()
	return demo.Options{Out: out, Log: io.Discard, Version: "test", Cut: 2 * time.Second}
}

func TestEverythingHappens(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := short(t, &out)
	o.LogName = "agent.log"
	outcomes, err := demo.Run(t.Context(), o)
	if err != nil {
		t.Errorf("the demo: %v", err)
	}
	want := []string{"telemetry", "shadow", "relay", "input", "cut", "count"}
	if len(outcomes) != len(want) {
		t.Fatalf("%d chapters, want %d", len(outcomes), len(want))
	}
	_, table, _ := strings.Cut(out.String(), "\nCHAPTER ")
	for i, c := range outcomes {
		if c.Chapter != want[i] || !c.OK || c.Seen == "" || c.Problem != "" || c.Seconds <= 0 {
			t.Errorf("chapter %d = %+v, want %s to have happened", i+1, c, want[i])
		}
		row := strings.Fields(table[strings.Index(table, c.Title):])
		if !strings.Contains(table, c.Seen) || len(row) == 0 {
			t.Errorf("the table does not have %q", c.Seen)
		}
	}
	if strings.Count(table, "  yes\n") != len(want) || strings.Contains(table, "NO") {
		t.Errorf("the table says:\n%s", table)
	}
	for _, text := range []string{"mqtt://127.0.0.1:", "agent.log", "% busy", "$ holdfastctl shadow set demo",
		`relays.pmup: no such output on this board`, `cpu: want a number from 0 to 100, not the text "high"`,
		"demo is offline (its will)", "link down: ", "missing    0\n"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the narration does not have %q", text)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("there is an escape sequence in what was told without colour")
	}
}

// A fault is a link that carries everything but what it swallows. It acknowledges that itself, as a broker does that
// loses what it took.
type fault struct {
	swallow func(p *packets.PublishPacket) bool // one at a time
	mu      sync.Mutex                          // both ways have a goroutine
}

func (f *fault) carry(agent, hub net.Conn) {
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{agent, hub}, {hub, agent}} {
		wg.Go(func() {
			defer agent.Close()
			defer hub.Close()
			for f.one(way[0], way[1]) == nil {
			}
		})
	}
	wg.Wait()
}

func (f *fault) one(from, to net.Conn) error {
	p, err := packets.ReadPacket(from)
	if err != nil {
		return err
	}
	if pub, ok := p.(*packets.PublishPacket); ok && f.takes(pub) {
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = pub.MessageID
		return ack.Write(from)
	}
	return p.Write(to)
}

func (f *fault) takes(p *packets.PublishPacket) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.swallow(p)
}

func TestWhatDoesNotHappenFailsItsChapter(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, tt := range []struct {
		name    string
		swallow func(p *packets.PublishPacket) bool
		chapter string
		problem string
	}{
		{"nothing arrives", func(p *packets.PublishPacket) bool { return strings.HasSuffix(p.TopicName, "/telemetry") },
			"telemetry", "readings of processor, memory and load: not seen within 4s"},
		{"the device is not told what is desired", func(p *packets.PublishPacket) bool { return strings.HasSuffix(p.TopicName, "/desired") },
			"shadow", "the device's answer to version 1: not seen within 4s"},
		{"commands get lost", func(p *packets.PublishPacket) bool { return strings.HasSuffix(p.TopicName, "/command") },
			"relay", "the answer to relay.set: not seen within 4s"},
		{"one record gets lost", func(p *packets.PublishPacket) bool {
			if strings.HasSuffix(p.TopicName, "/telemetry") {
				seen++
			}
			return seen == 3 && strings.HasSuffix(p.TopicName, "/telemetry")
		}, "count", "1 of "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			o := short(t, &out)
			o.JSON, o.Patience = true, 4*time.Second
			if tt.chapter == "count" {
				o.Patience = 0 // the whole demo has to get there
			}
			o.Carry((&fault{swallow: tt.swallow}).carry)
			outcomes, err := demo.Run(t.Context(), o)
			if !errors.Is(err, demo.ErrFailed) || !strings.Contains(err.Error(), tt.chapter+": ") {
				t.Errorf("error = %v, want chapter %s to have failed", err, tt.chapter)
			}
			judge(t, outcomes, tt.chapter, tt.problem)
			for _, o := range outcomes {
				var line demo.Outcome
				text, err := out.ReadBytes('\n')
				if err != nil || json.Unmarshal(text, &line) != nil || line != o {
					t.Errorf("line %q, want %+v", text, o)
				}
			}
			if out.Len() > 0 {
				t.Errorf("more than a line a chapter: %s", out.String())
			}
		})
	}
}

// judge checks that the chapters before the named one happened, that it did not, and that none was played after it.
func judge(t *testing.T, outcomes []demo.Outcome, chapter, problem string) {
	t.Helper()
	failed := false
	for _, o := range outcomes {
		switch {
		case o.Chapter == chapter:
			failed = true
			if o.OK || !strings.Contains(o.Problem, problem) {
				t.Errorf("%+v, want the problem %q", o, problem)
			}
		case failed && (o.OK || o.Problem != "not reached"):
			t.Errorf("%+v, want it not to have been reached", o)
		case !failed && !o.OK:
			t.Errorf("%+v, want it to have happened", o)
		}
	}
	if !failed {
		t.Errorf("no chapter %s among %+v", chapter, outcomes)
	}
}

func TestItStaysUntilItIsEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &trigger{text: "export HOLDFAST_BROKER=mqtt://127.0.0.1:", do: cancel}
	o := short(t, out)
	o.Stay, o.Cut = true, time.Second
	if _, err := demo.Run(ctx, o); err != nil {
		t.Errorf("a demo that stays ended with %v, want none when it is interrupted", err)
	}
	if !out.done {
		t.Error("it ended without saying what there is to play with")
	}
}

// A trigger does something once it was told a text.
type trigger struct {
	bytes.Buffer
	text string
	do   func()
	done bool
}

func (w *trigger) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if !w.done && strings.Contains(w.String(), w.text) {
		w.done = true
		w.do()
	}
	return n, err
}

func TestItCanBeInterruptedAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, cancel := context.WithCancel(t.Context())
	out := &trigger{text: "1. Telemetry", do: cancel}
	_, err := demo.Run(ctx, short(t, out))
	if !errors.Is(err, demo.ErrFailed) || !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want that it was interrupted", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestItEndsInTime(t *testing.T) {
	t.Parallel()
	o := short(t, io.Discard)
	o.Limit = 3 * time.Second // less than a demo needs
	outcomes, err := demo.Run(t.Context(), o)
	if !errors.Is(err, demo.ErrFailed) || !strings.Contains(err.Error(), "not done after 3s") {
		t.Errorf("error = %v, outcomes %+v, want that time was up", err, outcomes)
	}
}

func TestAnUnfitCutIsRefused(t *testing.T) {
	t.Parallel()
	for _, cut := range []time.Duration{time.Millisecond, time.Minute} {
		o := short(t, io.Discard)
		o.Cut = cut
		if outcomes, err := demo.Run(t.Context(), o); err == nil || len(outcomes) > 0 {
			t.Errorf("cut of %s: error = %v, outcomes %+v, want that it is refused", cut, err, outcomes)
		}
	}
}
