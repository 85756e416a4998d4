package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/envelope"
	"holdfast/cmd/holdfastctl/internal/message"
)

// The board that is updated, and what it calls itself.
const (
	boardID = "board"
	kind    = "acme,pump-2"
)

// slotBytes is the size of a slot, which need not be full.
const slotBytes = 16 << 20

// deadline is how long a system on trial has to show that it is in order.
const deadline = 7 * time.Second

// A bench is a second board, in a process of its own, with two slots that are files; and what it is updated from.
type bench struct {
	*releases
	s       *stage
	dir     string
	site    *site
	machine *machine
	watch   *watcher
}

func (b *bench) path(name ...string) string { return filepath.Join(b.dir, filepath.Join(name...)) }

// setBench makes the releases, serves them, and starts a board that runs the first.
func (s *stage) setBench(ctx context.Context) (err error) {
	// Programs that judge a system must not be reached through links.
	dir, err := filepath.EvalSymlinks(s.set.dir)
	if err != nil {
		return err
	}
	b := &bench{s: s, dir: filepath.Join(dir, boardID), releases: s.o.releases}
	b.machine = &machine{argv: append(slices.Clone(s.o.Board), b.path("holdfast.toml")), log: s.log}
	s.bench = b
	if err := os.MkdirAll(b.path("health.d"), 0o755); err != nil {
		return err
	}
	if b.releases == nil {
		if b.releases, err = makeReleases(ctx, b.path("releases")); err != nil {
			return fmt.Errorf("releases: %w", err)
		}
	}
	if b.site, err = raise(b.repository); err != nil {
		return err
	}
	s.wg.Go(func() { b.site.run(s.life, s.o.around, s.set.log) })
	if err := b.install(); err != nil {
		return fmt.Errorf("board: %w", err)
	}
	if s.o.tamper != nil {
		s.o.tamper(b.dir)
	}
	if b.watch, err = watch(ctx, s.broker, boardID); err != nil {
		return err
	}
	return b.machine.on()
}

// install writes what is on the board when it leaves its maker.
func (b *bench) install() error {
	anchor, err := os.ReadFile(filepath.Join(b.repository, "metadata", "1.root.json"))
	if err != nil {
		return err
	}
	// The image that runs says how its pump is. On a real board this would try the pump.
	script := fmt.Sprintf(`#!/bin/sh
slot=$(sed 's/.*=//' '%[1]s/run/cmdline' | tr AB ab)
pump=$(head -n 2 '%[1]s/slot-'"$slot" | tail -n 1 | tr -s ' ')
echo "$slot: $pump" >>'%[1]s/judged'
echo $pump
if [ "$pump" = '%[2]s ' ]; then exit 0; fi
exit 1
`, b.dir, turns)
	for _, f := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{
		{"slot-a", b.images["pump/1"], 0o600},
		{"slot-b", nil, 0o600},
		{"root.json", anchor, 0o600},
		{"release.json", []byte(`{"release":"pump/1","seq":1}`), 0o600},
		{"health.d/pump", []byte(script), 0o700},
		{"holdfast.toml", b.config(), 0o600},
	} {
		if err := os.WriteFile(b.path(f.name), f.text, f.mode); err != nil {
			return err
		}
	}
	for _, slot := range []string{"slot-a", "slot-b"} {
		if err := os.Truncate(b.path(slot), slotBytes); err != nil {
			return err
		}
	}
	return nil
}

// config is the board's configuration. A trial has little time, and there is one: this is a demo.
func (b *bench) config() []byte {
	return fmt.Appendf(nil, `id = %q
state_dir = %q
run_dir = %q
[broker]
urls = [%q]
min_backoff = "200ms"
max_backoff = "1s"
[telemetry]
period = %q
linger = "100ms"
[limits]
reboots_per_hour = 20
reboots_per_day = 20
[rules]
dir = ""
[update]
bootloader = "model"
compatible = [%q]
anchor = %q
release = %q
repository = %q
health = %q
hooks = %q
settle = "1s"
deadline = %q
trials = 1
battery_percent = 0
[update.parts.root]
a = %q
b = %q
`, boardID, b.path("state"), b.path("run"), b.s.broker, firstPeriod, kind, b.path("root.json"), b.path("release.json"), b.site.url(),
		b.path("health.d"), b.path("none"), deadline, b.path("slot-a"), b.path("slot-b"))
}

// close takes the board's power away.
func (b *bench) close() {
	if b.machine != nil {
		b.machine.off()
	}
	if b.watch != nil {
		b.watch.mq.Close()
	}
}

// await reads what the broker delivers of the board until done says so; what names it for the error.
func (b *bench) await(ctx context.Context, what string, done func() bool) error {
	err := b.watch.await(ctx, b.s.o.Patience, b.machine.ended, done)
	if errors.Is(err, errEnded) {
		return fmt.Errorf("%s: the board's process has ended: %w", what, b.machine.err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// ask sends the board a command and reads its answer into v.
func (b *bench) ask(ctx context.Context, name string, v any) error {
	b.s.issued++
	e := envelope.New("demo", b.s.issued, name, map[string]any{}, time.Now(), time.Minute)
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := b.publish(ctx, "command", body, false); err != nil {
		return err
	}
	if err := b.await(ctx, "the answer to "+name, func() bool { return b.watch.results[e.ID].ID != "" }); err != nil {
		return err
	}
	r := b.watch.results[e.ID]
	if !r.OK {
		return fmt.Errorf("%s: the board answers: %s", name, message.Clean(r.Error, 200))
	}
	return message.Decode(r.Result, v)
}

func (b *bench) publish(ctx context.Context, part string, body []byte, retain bool) error {
	return b.s.operate(ctx, func(mq *client.Client) error {
		return mq.Publish(ctx, "holdfast/"+boardID+"/"+part, body, retain)
	})
}

// push leaves a job for the board, as `holdfastctl update push` does.
func (b *bench) push(ctx context.Context, id, release string) error {
	b.s.tell.command("update push " + boardID + " " + release)
	body, err := json.Marshal(map[string]any{"id": id, "kind": "update", "release": release})
	if err != nil {
		return err
	}
	return b.publish(ctx, "job", body, true)
}

// over waits until a job has ended, and holds how it ended against what is wanted.
func (b *bench) over(ctx context.Context, id, phase, reason string) (jobStatus, error) {
	err := b.await(ctx, "the end of "+id, func() bool { return b.watch.job.ID == id && b.watch.job.over() })
	j := b.watch.job
	if err == nil && (j.Phase != phase || j.Reason != reason) {
		err = j.unexpected(strings.TrimSpace(phase + " " + reason))
	}
	return j, err
}

func (j jobStatus) over() bool {
	return slices.Contains([]string{"committed", "rolled_back", "failed", "refused", "canceled"}, j.Phase)
}

// unexpected says that a job should be something else.
func (j jobStatus) unexpected(want string) error {
	why := ""
	if j.Reason != "" {
		why = fmt.Sprintf(" (%s: %s)", message.Clean(j.Reason, 20), message.Clean(j.Error, 200))
	}
	return fmt.Errorf("job %s should be %s: it is %s%s", message.Clean(j.ID, 20), want, message.Clean(j.Phase, 20), why)
}

// A standing is the board's own view of its updates.
type standing struct {
	Phase   string  `json:"phase"`
	Percent float64 `json:"percent"`
	Bytes   int64   `json:"bytes"`
	Running string  `json:"running"`
	Booted  string  `json:"booted"`
	Next    string  `json:"next"`
}

func (b *bench) standing(ctx context.Context) (standing, error) {
	var answer struct {
		Status standing `json:"status"`
	}
	err := b.ask(ctx, "update.status", &answer)
	return answer.Status, err
}

// runs checks that a release runs from a slot, is what starts next, and is whole.
func (b *bench) runs(ctx context.Context, release, slot string) error {
	now, err := b.standing(ctx)
	if err != nil {
		return err
	}
	if now.Running != release || now.Booted != slot || now.Next != slot {
		return fmt.Errorf("the board should run %s from slot %s: it runs %s from %s, and would start %s next", release, slot, now.Running, now.Booted, now.Next)
	}
	return b.holds(slot, release)
}

// holds checks that a slot has a release in it, byte for byte.
func (b *bench) holds(slot, release string) error {
	image, err := os.ReadFile(b.path("slot-" + slot))
	if err == nil && !bytes.HasPrefix(image, b.images[release]) {
		err = fmt.Errorf("slot %s does not hold %s", slot, release)
	}
	return err
}

// judged checks what the health script has said so far.
func (b *bench) judged(want ...string) error {
	text, err := os.ReadFile(b.path("judged"))
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("the health script was never run")
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		got = append(got, strings.TrimSpace(line))
	}
	if err == nil && !slices.Equal(got, want) {
		err = fmt.Errorf("the health script should have said %q: it said %q", want, got)
	}
	return err
}
