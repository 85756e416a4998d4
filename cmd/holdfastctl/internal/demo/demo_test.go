//go:build linux

package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"holdfast/cmd/holdfastctl/internal/demo"
)

// TestMain lets the tests run side by side: they wait more than they work. As a board it is what a demo starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "board" {
		if err := demo.Board(context.Background(), os.Args[2], "test", os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == "leak" {
		step, _ := strconv.Atoi(os.Args[2]) // ours, as the next
		ballast, _ := strconv.Atoi(os.Args[3])
		if err := demo.Leak(context.Background(), step, ballast); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	code := m.Run()
	if kept != "" {
		os.RemoveAll(kept)
	}
	os.Exit(code)
}

var kept string // directory of the releases

// made are releases for all tests: making them takes longer than all else, under the race detector.
var made = sync.OnceValues(func() (_ *demo.Releases, err error) {
	if kept, err = os.MkdirTemp("", "holdfast-demo-test-"); err != nil {
		return nil, err
	}
	return demo.MakeReleases(context.Background(), kept)
})

// short are options for a demo that takes as long as it must.
func short(t *testing.T, out io.Writer) demo.Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := demo.Options{Out: out, Log: io.Discard, Version: "test", Cut: 2 * time.Second, Board: []string{self, "board"},
		Leak: []string{self, "leak", strconv.Itoa(demo.LeakStep), "0"}}
	r, err := made()
	if err != nil {
		t.Fatal(err)
	}
	o.Use(r)
	return o
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
	want := []string{"telemetry", "shadow", "relay", "input", "alert", "repair", "cut", "count", "update", "rollback"}
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
		"memory-over-limit: memory is ", "by memory-in-limit, after ",
		"demo is offline (its will)", "link down: ", "missing    0\n",
		"cut (SIGKILL) after ", "Range: bytes=", "runs pump/2 from slot b, from now on", "script pump: exit status 1: the pump does not turn",
		"job-2      pump/2 committed\n", "job-3      pump/3 rolled_back quarantined\n", "job-4      pump/3 refused quarantined\n"} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("the narration does not have %q", text)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("there is an escape sequence in what was told without colour")
	}
}

// What a fault does with a publication.
const (
	pass = iota
	swallow
	hold // until the next one that passes has gone ahead
)

// A fault is a link that does not pass on everything. What it swallows it acknowledges itself, as a broker does that
// loses what it took.
type fault struct {
	choose func(p *packets.PublishPacket) int // one at a time
	mu     sync.Mutex                         // each way has a goroutine
}

func (f *fault) carry(agent, hub net.Conn) {
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{agent, hub}, {hub, agent}} {
		wg.Go(func() {
			defer agent.Close()
			defer hub.Close()
			var held []packets.ControlPacket
			for f.one(way[0], way[1], &held) == nil {
			}
		})
	}
	wg.Wait()
}

func (f *fault) one(from, to net.Conn, held *[]packets.ControlPacket) error {
	p, err := packets.ReadPacket(from)
	if err != nil {
		return err
	}
	pub, ok := p.(*packets.PublishPacket)
	if !ok {
		return p.Write(to)
	}
	switch f.verdict(pub) {
	case swallow:
		ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
		ack.MessageID = pub.MessageID
		return ack.Write(from)
	case hold:
		*held = append(*held, p)
		return nil
	}
	for _, p := range append([]packets.ControlPacket{p}, *held...) {
		if err := p.Write(to); err != nil {
			return err
		}
	}
	*held = nil
	return nil
}

func (f *fault) verdict(p *packets.PublishPacket) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.choose(p)
}

// all swallows every publication of a topic that has the text in it.
func all(topic, text string) func(p *packets.PublishPacket) int {
	return func(p *packets.PublishPacket) int {
		if strings.HasSuffix(p.TopicName, topic) && bytes.Contains(p.Payload, []byte(text)) {
			return swallow
		}
		return pass
	}
}

// third does something with the third telemetry record.
func third(verdict int) func(p *packets.PublishPacket) int {
	n := 0
	return func(p *packets.PublishPacket) int {
		if strings.HasSuffix(p.TopicName, "/telemetry") {
			if n++; n == 3 {
				return verdict
			}
		}
		return pass
	}
}

func TestWhatDoesNotHappenFailsItsChapter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		choose  func(p *packets.PublishPacket) int
		chapter string
		problem string
	}{
		{"nothing arrives", all("/telemetry", ""), "telemetry", "readings of processor, memory and load: not seen within 4s"},
		{"the device is not told what is desired", all("/desired", ""), "shadow", "the device's answer to version 1: not seen within 4s"},
		{"commands get lost", all("/command", ""), "relay", "the answer to relay.set: not seen within 4s"},
		{"a record overtakes another", third(hold), "cut", "records that arrived after later ones: 1"},
		{"a record gets lost", third(swallow), "count", "1 of "},
		{"the last words get lost", all("/status", `"stopped"`), "count", "last words should be offline, stopped; the broker has online true"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			o := short(t, &out)
			o.JSON, o.Patience = true, 4*time.Second
			if tt.chapter == "cut" || tt.chapter == "count" {
				o.Patience = 0 // the demo has to get there
			}
			o.Carry((&fault{choose: tt.choose}).carry)
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
	for text, only := range map[string][]string{"1. Telemetry": nil, "runs pump/1 from slot a": {"update"}} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &trigger{text: text, do: cancel}
		o := short(t, out)
		o.Only(only...)
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		_, err := demo.Run(ctx, o)
		if !out.done || !errors.Is(err, demo.ErrFailed) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error = %v, want that it was interrupted", text, err)
		}
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %q, %v", text, left, err)
		}
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil || len(lines) == 0 {
			t.Fatalf("no processes: %v", err)
		}
		for _, line := range lines {
			if argv, err := os.ReadFile(line); err == nil && bytes.Contains(argv, []byte(dir)) { // others come and go
				t.Errorf("%s: still there: %q", text, argv)
			}
		}
	}
}

func TestItEndsInTime(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	o := short(t, &out)
	o.Color, o.Limit = true, 3*time.Second // less than a demo needs
	outcomes, err := demo.Run(t.Context(), o)
	if !errors.Is(err, demo.ErrFailed) || !strings.Contains(err.Error(), "not done after 3s") {
		t.Errorf("error = %v, outcomes %+v, want that time was up", err, outcomes)
	}
	if !strings.Contains(out.String(), "\x1b[31mFAILED: ") || !strings.Contains(out.String(), "\x1b[31mNO\x1b[0m") {
		t.Errorf("what failed is not red: %q", out.String())
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
