package shadow_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/hub"
	"holdfast/cmd/holdfastctl/internal/shadow"
)

const patience = 20 * time.Second

func broker(t *testing.T) client.Options {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan hub.Addrs, 1), make(chan error, 1)
	go func() { ended <- hub.Run(ctx, hub.Options{Listen: "127.0.0.1:0"}, func(a hub.Addrs) { ready <- a }) }()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case a := <-ready:
		return client.Options{Broker: a.Plain, Timeout: patience}
	case err := <-ended:
		t.Fatal(err)
		return client.Options{}
	}
}

func dial(t *testing.T, o client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func twin(t *testing.T, o client.Options) *shadow.Twin {
	t.Helper()
	tw, err := shadow.Read(t.Context(), dial(t, o), "d1")
	if err != nil {
		t.Fatal(err)
	}
	return tw
}

func put(key string, v any) func(map[string]any) map[string]any {
	return func(s map[string]any) map[string]any { return shadow.Merge(s, map[string]any{key: v}) }
}

// Eight writers at once, each with a key of its own: no change is lost.
func TestConcurrentMergesAreAllThere(t *testing.T) {
	o := broker(t)
	const writers = 8
	twins := make([]*shadow.Twin, writers)
	for i := range twins {
		twins[i] = twin(t, o) // all of them before the first one writes
	}
	var wg sync.WaitGroup
	refused := make([]bool, writers)
	for i, tw := range twins {
		wg.Go(func() {
			err := tw.Write(t.Context(), false, put(fmt.Sprint("k", i), true))
			refused[i] = errors.Is(err, shadow.ErrChanged)
			if err != nil && !refused[i] {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	end := twin(t, o)
	for i := range writers {
		if _, there := end.Desired.State[fmt.Sprint("k", i)]; !there {
			t.Errorf("writer %d (refused: %v): its change is gone: %v", i, refused[i], end.Desired)
		}
	}
}

func TestReplacingSomebodyElsesChangeIsToldOfAndUndone(t *testing.T) {
	o := broker(t)
	first, second := twin(t, o), twin(t, o)
	if err := first.Write(t.Context(), true, put("a", 1)); err != nil {
		t.Fatal(err)
	}
	if err := second.Write(t.Context(), true, put("b", 2)); !errors.Is(err, shadow.ErrChanged) {
		t.Errorf("the second: %v", err)
	}
	if end := twin(t, o).Desired; len(end.State) != 1 || end.State["a"] == nil {
		t.Errorf("the first one's change is not put back: %v", end)
	}
}

func TestAwaitTellsAnswerFromSilenceAndFromAnOverwrite(t *testing.T) {
	o := broker(t)
	device := dial(t, o)
	report := func(d shadow.Document) {
		t.Helper()
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := device.Publish(t.Context(), "holdfast/d1/shadow/reported", b, true); err != nil {
			t.Fatal(err)
		}
	}
	state := map[string]any{}
	report(shadow.Document{Epoch: "older", Version: 99, State: state})
	tw := twin(t, o)
	if err := tw.Write(t.Context(), false, put("a", 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := tw.Await(ctx); !errors.Is(err, shadow.ErrSilent) {
		t.Errorf("an answer to another lineage was taken: %v", err)
	}
	report(shadow.Document{Epoch: tw.Desired.Epoch, Version: tw.Desired.Version, State: state, Refused: map[string]string{"a": "no"}})
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := tw.Await(ctx); err != nil || tw.Reported.Refused["a"] != "no" {
		t.Errorf("%v, %+v", err, tw.Reported)
	}
	if err := tw.Write(t.Context(), false, put("a", 2)); err != nil {
		t.Fatal(err)
	}
	for version := 1; version <= 2; version++ {
		other := fmt.Appendf(nil, `{"epoch":"new","version":%d,"state":{}}`, version)
		if err := device.Publish(t.Context(), "holdfast/d1/shadow/desired", other, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Await(ctx); !errors.Is(err, shadow.ErrChanged) {
		t.Errorf("overwritten: %v", err)
	}
}

func TestAwaitTakesTheRefusalOfAWholeDocumentForAnAnswer(t *testing.T) {
	o := broker(t)
	device := dial(t, o)
	report := func(version int64, refused string) {
		t.Helper()
		b, err := json.Marshal(shadow.Document{Epoch: "old", Version: version, State: map[string]any{}, Refused: map[string]string{"": refused}})
		if err != nil {
			t.Fatal(err)
		}
		if err := device.Publish(t.Context(), "holdfast/d1/shadow/reported", b, true); err != nil {
			t.Fatal(err)
		}
	}
	report(1, "too deep")
	tw := twin(t, o)
	write := func() {
		t.Helper()
		if err := tw.Write(t.Context(), false, put("a", 1)); err != nil {
			t.Fatal(err)
		}
	}
	await := func(d time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		return tw.Await(ctx)
	}
	write()
	if err := await(20 * time.Millisecond); !errors.Is(err, shadow.ErrSilent) {
		t.Errorf("what was refused before is no answer: %v", err)
	}
	report(1, "too long")
	if err := await(patience); err != nil || tw.Reported.Refused[""] != "too long" {
		t.Errorf("another reason: %v, %v", err, tw.Reported.Refused)
	}
	write()
	report(1, "too long") // the same reason again is an answer when no other comes
	if err := await(2 * time.Second); err != nil {
		t.Errorf("the same reason: %v", err)
	}
	write()
	report(1, "too deep") // of the document before
	b, err := json.Marshal(shadow.Document{Epoch: tw.Desired.Epoch, Version: tw.Desired.Version, State: map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := device.Publish(t.Context(), "holdfast/d1/shadow/reported", b, true); err != nil {
		t.Fatal(err)
	}
	if err := await(patience); err != nil || len(tw.Reported.Refused) > 0 {
		t.Errorf("an answer after it: %v, %v", err, tw.Reported.Refused)
	}
}
