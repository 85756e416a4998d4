package confined_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast/actuators/confined"
	"holdfast/board/boardtest"
)

func run(t *testing.T, p confined.Program, text string) confined.Ending {
	t.Helper()
	p.Name, p.Argv = "test", []string{"/bin/bash", "-c", text}
	end, err := confined.Runner{Clock: boardtest.Clock{}}.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func TestLimitsHoldInASessionOrAreNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	for _, tt := range []struct {
		limit  string
		limits confined.Limits
		text   string
		held   func(out string, end confined.Ending) bool
	}{
		{"memory", confined.Limits{Memory: 32 << 20}, "head -c 200M /dev/zero | tail -c 199M | wc -c",
			func(out string, _ confined.Ending) bool {
				n, _ := strconv.Atoi(strings.TrimSpace(out))
				return n < 199<<20
			}},
		{"tasks", confined.Limits{Tasks: 10}, "for i in $(seq 30); do sleep 5 & done 2>/dev/null; jobs -r | wc -l",
			func(out string, _ confined.Ending) bool { n, _ := strconv.Atoi(strings.TrimSpace(out)); return n <= 10 }},
		{"cpu", confined.Limits{CPU: 10, Time: 2 * time.Second}, "while :; do :; done & sleep 1; read -a f </proc/$!/stat; echo $((f[13]+f[14]))",
			func(out string, _ confined.Ending) bool {
				n, err := strconv.Atoi(strings.TrimSpace(out))
				return err == nil && n <= 50
			}},
		{"file", confined.Limits{File: 64 << 10}, "head -c 1M /dev/zero >" + file,
			func(_ string, end confined.Ending) bool {
				info, err := os.Stat(file)
				return err == nil && info.Size() == 64<<10 && end.Code != 0
			}},
		{"network", confined.Limits{}, "tail -n +3 /proc/net/dev | grep -vc '^ *lo:'",
			func(out string, _ confined.Ending) bool { return strings.TrimSpace(out) == "0" }},
	} {
		end := run(t, confined.Program{Limits: tt.limits}, tt.text)
		if slices.Contains(end.Loose, tt.limit) {
			t.Logf("%s: not limited here, and it says so", tt.limit)
			if os.Getuid() == 0 && tt.limit == "network" {
				t.Errorf("root can make a network namespace")
			}
			continue
		}
		if !tt.held(string(end.Output), end) {
			t.Errorf("%s: %q, %+v", tt.limit, end.Output, end)
		}
	}
	left := 0
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == fmt.Sprintf("holdfast-%d", os.Getpid()) {
			left++
		}
		return nil
	})
	if left > 0 {
		t.Errorf("%d control groups are left", left)
	}
}

func TestWithoutLimitsThereAreNone(t *testing.T) {
	end := run(t, confined.Program{Powers: confined.Powers{Network: true}}, "ulimit -d; ulimit -f; nice; [ -e /proc/net/dev ] && echo net; cat /proc/self/cgroup | grep -c holdfast-")
	if got := string(end.Output); got != "unlimited\nunlimited\n0\nnet\n0\n" || end.Loose != nil {
		t.Errorf("%q, %+v", got, end)
	}
}

func TestWhatComesAfterIsRunHoweverItEnds(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	r := confined.Runner{Clock: boardtest.Clock{}, Turn: make(chan struct{}, 1)}
	given := errors.New("given up")
	for _, tt := range []struct {
		text string
		why  error
	}{
		{"exit 0", nil}, {"exit 3", nil}, {"kill -KILL $$", nil}, {"trap '' TERM; sleep 60", confined.ErrLate}, {"echo >" + mark + ".begun; sleep 60", given},
	} {
		ctx, stop := context.WithCancelCause(t.Context())
		p := confined.Program{Name: "x", Argv: []string{"/bin/sh", "-c", tt.text}, After: []string{"/bin/sh", "-c", "echo >>" + mark},
			Limits: confined.Limits{Time: 300 * time.Millisecond, Grace: 100 * time.Millisecond}}
		if tt.why == given {
			stop(given)
		}
		end, err := r.Run(ctx, p)
		stop(nil)
		if tt.why == given && errors.Is(err, given) { // before it was its turn: nothing was begun
			continue
		}
		if err != nil || !errors.Is(end.Why, tt.why) || (tt.why == nil) != (end.Why == nil) {
			t.Errorf("%s: %+v, %v", tt.text, end, err)
		}
		text, _ := os.ReadFile(mark)
		if string(text) != "\n" {
			t.Errorf("%s: what comes after was run %d times", tt.text, bytes.Count(text, []byte("\n")))
		}
		_ = os.Remove(mark)
	}
}

func TestWhatCannotBeStartedIsAnError(t *testing.T) {
	r := confined.Runner{Clock: boardtest.Clock{}}
	for _, p := range []confined.Program{{}, {Argv: []string{"sh"}}, {Argv: []string{"/nonexistent/x"}}, {Argv: []string{"/etc/hostname"}},
		{Argv: []string{"/bin/true"}, User: "nobody-of-that-name"}} {
		if end, err := r.Run(t.Context(), p); err == nil {
			t.Errorf("%+v: %+v", p, end)
		}
	}
	p := confined.Program{Argv: []string{"/bin/true"}}
	if end, err := (confined.Runner{Clock: boardtest.Clock{}, Units: true, Bus: "unix:path=/nonexistent"}).Run(t.Context(), p); err != nil || end.Code != 0 {
		t.Errorf("without a bus it is a session: %+v, %v", end, err)
	}
}
