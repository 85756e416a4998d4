package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"holdfast/board"
	"holdfast/board/strict"
)

// crashesName is the document of what was told: an event is on flash before its crash is written down there. A cut
// between the two tells it twice; it never loses one.
const crashesName = "crashes.json"

// Bounds of what is remembered. The kernel keeps a handful.
const (
	maxToldCrashes = 32
	toldBytes      = 4 << 10
	crashTries     = 5 // at asking, a minute apart: the process that reads them may come up after us
)

// crashes tells of what the kernel left of its crashes, each once, as an event.
type crashes struct {
	read   func(ctx context.Context) ([]board.Crash, error)
	files  board.Files
	clock  board.Clock
	log    *slog.Logger
	facts  board.Facts
	record func(ctx context.Context, kind string, body map[string]any) error
	told   func(ctx context.Context, crash board.Crash) // takes each after its event is on flash
}

// run ends when all were told. That they cannot be read or told keeps nothing else from running.
func (c *crashes) run(ctx context.Context) error {
	for try := range crashTries {
		if try > 0 && !board.Wait(ctx, c.clock, time.Minute) {
			return nil
		}
		err := c.tell(ctx)
		if err == nil {
			return nil
		}
		c.log.Warn("crashes of the kernel", "err", err)
	}
	return nil
}

func (c *crashes) tell(ctx context.Context) error {
	all, unread := c.read(ctx)
	told, err := c.known()
	if err != nil {
		c.log.Warn("what was told of crashes is lost, and told again", "err", err)
	}
	for _, crash := range slices.Backward(all) { // newest last
		if slices.Contains(told, crash.ID) {
			continue
		}
		if err := c.record(ctx, "crash", c.event(crash)); err != nil {
			return fmt.Errorf("tell of a crash: %w", err)
		}
		if c.told != nil {
			c.told(ctx, crash)
		}
		told = append(told, crash.ID)
		told = told[max(len(told)-maxToldCrashes, 0):]
		doc, _ := json.Marshal(told) // texts always marshal
		if err := c.files.WriteFile(crashesName, board.Seal(doc)); err != nil {
			return fmt.Errorf("remember what was told of crashes: %w", err)
		}
	}
	return unread
}

func (c *crashes) known() (ids []string, err error) {
	doc, err := c.files.ReadFile(crashesName, toldBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		doc, err = board.Unseal(doc)
	}
	if err == nil {
		err = strict.Unmarshal(doc, &ids, strict.Limits{Bytes: toldBytes})
	}
	return ids, err
}

// event is what is told: when the kernel wrote it down, by its clock then, and why this start came about, which may be a
// later one.
func (c *crashes) event(crash board.Crash) map[string]any {
	body := map[string]any{"id": crash.ID, "name": crash.Name, "bytes": crash.Bytes, "message": crash.Tail, "truncated": crash.Bytes > int64(len(crash.Tail))+1}
	if !crash.Written.IsZero() {
		body["written"] = crash.Written.UTC().Format(time.RFC3339)
	}
	for name, value := range map[string]string{"reason": crash.Reason, "reset": string(c.facts.Reset), "reset_words": c.facts.ResetWords} {
		if value != "" {
			body[name] = value
		}
	}
	return body
}
