package wire_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// A place is a machine on which the agent's program is updated.
type place struct {
	c     config.Config
	links *linux.Links
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{c: config.Default()}
	p.c.StateDir, p.c.Update.Agent = filepath.Join(dir, "state"), filepath.Join(dir, "agent")
	files, err := linux.SharedFiles(p.c.Update.Agent)
	if err != nil {
		t.Fatal(err)
	}
	p.links, err = linux.NewLinks(linux.LinksOptions{Dir: p.c.Update.Agent, Files: files, Document: "links", Bytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// put writes a program that says its version, or what was given instead.
func (p *place) put(t *testing.T, id board.SlotID, version string, mode os.FileMode) {
	t.Helper()
	text := version
	if version != "rubbish" {
		text = fmt.Sprintf("#!/bin/sh\necho holdfast %s\n", version)
	}
	if err := os.WriteFile(p.links.Path(id), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p.links.Path(id), mode); err != nil {
		t.Fatal(err)
	}
}

// runs starts the agent and returns the slot whose program runs, "" for the package's.
func (p *place) runs(t *testing.T, version string) string {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if err := wire.Launch(p.c, version, log); err != nil {
		t.Fatal(err)
	}
	_, slot, err := wire.Program(p.c, true, log)
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

func TestAProgramOnTrialThatEndsIsLeftAtTheNextStart(t *testing.T) {
	p := newPlace(t)
	if got := p.runs(t, "1.0.0"); got != "" {
		t.Fatalf("slot %q runs, where no update brought anything", got)
	}
	p.put(t, board.SlotB, "1.1.0", 0o755)
	if err := p.links.Arm(board.SlotB); err != nil {
		t.Fatal(err)
	}
	if got := p.runs(t, "1.0.0"); got != "b" {
		t.Fatalf("slot %q runs, where b is on trial", got)
	}
	if _, slot, err := wire.Program(p.c, false, slog.New(slog.DiscardHandler)); slot != "" || err != nil {
		t.Errorf("the warden runs from slot %q, %v: what judges a trial must not be on it", slot, err)
	}
	if got := p.runs(t, "1.0.0"); got != "" {
		t.Errorf("slot %q runs after the trial ended by itself", got)
	}
}

func TestAProgramIsRunOnlyWhereItCanBe(t *testing.T) {
	for _, tt := range []struct {
		name, version, ours, want string
		mode                      os.FileMode
	}{
		{"as it should be", "1.1.0", "1.0.0", "b", 0o755},
		{"a version that cannot be compared", "dev", "1.0.0", "b", 0o755},
		{"the package is newer", "1.1.0", "1.2.0", "", 0o755},
		{"for another machine", "rubbish", "1.0.0", "", 0o755},
		{"not executable", "1.1.0", "1.0.0", "", 0o644},
		{"others can write it", "1.1.0", "1.0.0", "", 0o777},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			p.runs(t, tt.ours)
			p.put(t, board.SlotB, tt.version, tt.mode)
			if err := p.links.Arm(board.SlotB); err != nil {
				t.Fatal(err)
			}
			if got := p.runs(t, tt.ours); got != tt.want {
				t.Errorf("slot %q runs, want %q", got, tt.want)
			}
		})
	}
}

// A trial that the power ended says nothing about the program.
func TestAStartAfterTheMachinesOwnIsNoFaultOfTheProgram(t *testing.T) {
	p := newPlace(t)
	p.c.Root = t.TempDir()
	boots := func(id string) {
		t.Helper()
		name := filepath.Join(p.c.Root, "proc/sys/kernel/random/boot_id")
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(id+"-1111-2222-3333-444444444444\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, tt := range []struct {
		boot string
		want board.Reset
	}{{"00000001", ""}, {"00000001", ""}, {"00000002", board.ResetPower}, {"00000002", ""}} {
		boots(tt.boot)
		p.runs(t, "1.0.0")
		if got := wire.LaunchReset(p.c.Update.Agent, p.links); got != tt.want {
			t.Errorf("start %d: reset %q, want %q", i, got, tt.want)
		}
	}
}

// The warden writes its documents at any time, also while the agent starts.
func TestAStartOfTheAgentTakesNothingFromTheWarden(t *testing.T) {
	p := newPlace(t)
	files, err := linux.NewFiles(p.c.StateDir + "-warden")
	if err != nil {
		t.Fatal(err)
	}
	over, wrote := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-over:
				wrote <- nil
				return
			default:
			}
			if err := files.WriteFile("system.journal", []byte("as far as the job has come")); err != nil {
				wrote <- err
				return
			}
		}
	}()
	for range 50 {
		p.runs(t, "1.0.0")
	}
	close(over)
	if err := <-wrote; err != nil {
		t.Errorf("a document of the warden: %v", err)
	}
}
