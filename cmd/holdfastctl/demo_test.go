package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/demo"
)

func TestADemoThatDoesNotSucceedExitsWithOne(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		log  string
		hint string
	}{
		{"a chapter failed", fmt.Errorf("%w: relay: no", demo.ErrFailed), "agent.log", "agent.log"},
		{"for want of an answer", fmt.Errorf("%w: relay: %w", demo.ErrFailed, client.ErrTimeout), "", ""},
		{"not on this system", demo.ErrLinux, "", "Linux"},
		{"before it began", errors.New("no room"), "", ""},
	} {
		f := judge(deedError{demoHint(tt.err, tt.log)})
		if f.code != exitFailed || !errors.Is(f, tt.err) || !strings.Contains(strings.Join(f.hints, "\n"), tt.hint) {
			t.Errorf("%s: code %d, %v, hints %q; want 1 and %q", tt.name, f.code, f.err, f.hints, tt.hint)
		}
	}
	if err := demoHint(nil, "agent.log"); err != nil {
		t.Errorf("a demo that succeeded: %v", err)
	}
}
