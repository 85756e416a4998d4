//go:build linux

package demo_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/holdfastctl/internal/demo"
	"holdfast/update/updatetest"
)

// rewritten changes a file of the board's.
func rewritten(t *testing.T, name, old, text string) func(dir string) {
	return func(dir string) {
		path := filepath.Join(dir, name)
		raw, err := os.ReadFile(path)
		if err == nil && !bytes.Contains(raw, []byte(old)) {
			err = errors.New("it does not have " + old)
		}
		if err == nil {
			err = os.WriteFile(path, bytes.Replace(raw, []byte(old), []byte(text), 1), 0o600)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// stranger is a board with somebody else's root of trust.
func stranger(t *testing.T) func(dir string) {
	return func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "root.json"), updatetest.New(time.Now(), 1).Anchor(), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// payloads does something with the requests for payloads.
func payloads(do func(w http.ResponseWriter, q *http.Request, next http.Handler)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasPrefix(q.URL.Path, "/payload/") {
				do(w, q, next)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
}

// A liar changes every 1000th byte that it gives.
type liar struct {
	http.ResponseWriter
	n int
}

func (l *liar) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *liar) Write(b []byte) (int, error) {
	b = bytes.Clone(b)
	for i := range b {
		if l.n++; l.n%1000 == 0 {
			b[i]++
		}
	}
	return l.ResponseWriter.Write(b)
}

func TestAnUpdateThatDoesNotHappenFailsItsChapter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		tamper  func(dir string)
		around  func(http.Handler) http.Handler
		board   []string
		chapter string
		problem string
	}{
		{name: "no program", board: []string{"/nonexistent/holdfast"}, chapter: "update", problem: "start the board: "},
		{name: "a board that ends", board: []string{"/bin/true"}, chapter: "update", problem: "the board's process has ended"},
		{name: "another root of trust", tamper: stranger(t), chapter: "update", problem: "half of the delta on its way: not seen within 4s"},
		{name: "other bytes than were signed", chapter: "update", problem: "not seen within 4s",
			around: payloads(func(w http.ResponseWriter, q *http.Request, next http.Handler) {
				next.ServeHTTP(&liar{ResponseWriter: w}, q)
			})},
		{name: "no part of a file", chapter: "update", problem: "with one Range request: ",
			around: payloads(func(w http.ResponseWriter, q *http.Request, next http.Handler) {
				q.Header.Del("Range")
				next.ServeHTTP(w, q)
			})},
		{name: "another release runs", tamper: rewritten(t, "slot-a", "pump/1", "pump/0"), chapter: "update", problem: "slot a does not hold pump/1"},
		{name: "a good release that is found bad", tamper: rewritten(t, "health.d/pump", "exit 0", "exit 3"), chapter: "update", problem: "rolled_back (quarantined: "},
		{name: "nobody judges", tamper: func(dir string) { _ = os.Remove(filepath.Join(dir, "health.d", "pump")) }, chapter: "update",
			problem: "the health script was never run"},
		{name: "a bad release that is found good", tamper: rewritten(t, "health.d/pump", "exit 1", "exit 0"), chapter: "rollback",
			problem: "job job-3 should be rolled_back quarantined: it is committed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := short(t, io.Discard)
			if strings.Contains(tt.problem, "within 4s") {
				o.Patience = 4 * time.Second
			}
			if tt.board != nil {
				o.Board = tt.board
			}
			o.Tamper(tt.tamper)
			o.Around(tt.around)
			o.Only("update", "rollback")
			outcomes, err := demo.Run(t.Context(), o)
			if !errors.Is(err, demo.ErrFailed) {
				t.Errorf("error = %v, want that the demo failed", err)
			}
			judge(t, outcomes, tt.chapter, tt.problem)
		})
	}
}
