package wire_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
	"holdfast/agent/local"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// said reports whether the device has published on a topic something with every one of parts in it.
func said(s *linktest.Server, topic string, parts ...string) func() bool {
	return func() bool {
	next:
		for _, m := range s.Heard() {
			if m.Topic != "holdfast/bench/"+topic {
				continue
			}
			for _, p := range parts {
				if !strings.Contains(string(m.Payload), p) {
					continue next
				}
			}
			return true
		}
		return false
	}
}

// single is a configuration as an operator writes it, for a process that does the warden's work too.
func single(t *testing.T, broker, period string) config.Config {
	t.Helper()
	c, err := config.Parse("holdfast.toml", []byte(`
		id = "bench"
		[broker]
		urls = ["`+broker+`"]
		[telemetry]
		period = "`+period+`"
		linger = "100ms"
		[lines.pump]
		driver = "sim"
		output = true
		[commands]
		allow = ["ping", "relay.set", "unit.restart"]
	`))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOneProcessFromItsConfigurationToTheBroker(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/none")
	broker := linktest.Mochi(t, linktest.Config{})
	before := linktest.Settled(t)
	c := single(t, broker.URL(broker.Addr), "1s")
	c.StateDir, c.RunDir = filepath.Join(t.TempDir(), "state"), t.TempDir()
	ready := make(chan struct{})
	r, err := wire.Run(wire.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar),
		Single: true, Started: time.Now(), Ready: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-ready
	wait := func(what string, ok func() bool) { t.Helper(); linktest.Eventually(t, what, broker.Next, ok) }
	wait("telemetry", said(broker, "telemetry", `"source":"cpu"`, `"source":"memory"`))
	wait("the status", said(broker, "status", `"online":true`))

	broker.Say(t, link.Message{Topic: "holdfast/bench/shadow/desired", QoS: 1, Retain: true,
		Payload: []byte(`{"epoch":"e","version":3,"state":{"relays":{"pump":true},"labels":{"site":"north"},"period":"1ms"}}`)})
	wait("the report", said(broker, "shadow/reported", `"version":3`, `"pump":true`, `"site":"north"`, `"refused":{"period":`))
	if !r.Lines["pump"].Level() {
		t.Error("the line was not driven")
	}
	broker.Say(t, link.Message{Topic: "holdfast/bench/command", QoS: 1, Payload: []byte(`{"id":"c1","name":"ping"}`)})
	wait("the answer", said(broker, "command/result", `"id":"c1"`, `"ok":true`))
	// The warden, at the other end of a pipe, is asked and refuses: no unit may be restarted here.
	body, err := json.Marshal(map[string]any{"id": "c2", "issuer": "anna", "seq": 1, "name": "unit.restart",
		"args": map[string]any{"unit": "ssh.service"}, "expires": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	if err != nil {
		t.Fatal(err)
	}
	broker.Say(t, link.Message{Topic: "holdfast/bench/command", QoS: 1, Payload: body})
	wait("the refusal", said(broker, "command/result", `"id":"c2"`, `"ok":false`))

	socket := filepath.Join(c.RunDir, local.Name)
	status, err := local.Ask(ctx, socket)
	if err != nil || status.Version != "test" || !status.Link.Up || status.Shadow.Version != 3 || len(status.Sources) == 0 {
		t.Errorf("status: %+v, %v", status, err)
	}
	changed := single(t, broker.URL(broker.Addr), "2s")
	changed.Labels = map[string]string{"rack": "b7"}
	if err := r.Reload(ctx, changed); err != nil {
		t.Fatal(err)
	}
	wait("the report of what was reloaded", said(broker, "shadow/reported", `"rack":"b7"`, `"site":"north"`, `"period":"2s"`))

	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	wait("the last word", said(broker, "status", `"online":false`, `"reason":"stopped"`))
	if _, err := local.Ask(t.Context(), socket); err == nil {
		t.Error("the status socket answers after the end")
	}
	linktest.NoMoreThan(t, before)
}

// One process answers whoever stands at the board with a stick, as two do.
func TestOneProcessAnswersForUpdatesAtTheBoard(t *testing.T) {
	broker := linktest.Mochi(t, linktest.Config{})
	c := single(t, broker.URL(broker.Addr), "1s")
	dir := t.TempDir()
	c.StateDir, c.RunDir = filepath.Join(dir, "state"), filepath.Join(dir, "run")
	c.Update.Bootloader, c.Update.Compatible, c.Update.Anchor = "model", []string{"bench"}, filepath.Join(dir, "none")
	c.Update.Parts = map[string]config.Part{"root": {A: filepath.Join(dir, "a"), B: filepath.Join(dir, "b")}}
	for _, slot := range []string{c.Update.Parts["root"].A, c.Update.Parts["root"].B} {
		if err := os.WriteFile(slot, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ready := make(chan struct{})
	r, err := wire.Run(wire.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar),
		Single: true, Started: time.Now(), Ready: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-ready
	u := wire.Updater(c, slog.New(slog.DiscardHandler))
	linktest.Eventually(t, "an answer", broker.Next, func() bool {
		s, err := u.Status(ctx, "system")
		return err == nil && s.Phase == "idle"
	})
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
	if _, err := u.Status(t.Context(), "system"); err == nil {
		t.Error("it answers after the end")
	}
}
