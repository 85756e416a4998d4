package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"holdfast/agent"
	"holdfast/agent/fetch"
)

// contract is what every repository keeps to; open makes one with these files.
func contract(t *testing.T, open func(t *testing.T, files map[string][]byte) agent.Repository) {
	ctx := t.Context()
	small := []byte("0123456789abcdefghijklmnopqrstuvwxyz\n")
	large := bytes.Repeat([]byte("holdfast"), 40_000)
	r := open(t, map[string][]byte{
		"small": small, "empty": {}, "a/b-c_d+e/1.0.patch": large, "a/b-c_d+e/..f": []byte("x"),
	})

	t.Run("a file is read from every offset", func(t *testing.T) {
		for offset := range small {
			if got, err := get(ctx, r, "small", int64(offset)); err != nil || !bytes.Equal(got, small[offset:]) {
				t.Errorf("from %d: %q, %v", offset, got, err)
			}
		}
		for _, offset := range []int64{0, 1, 4095, 4096, 65536, int64(len(large)) - 1} {
			if got, err := get(ctx, r, "a/b-c_d+e/1.0.patch", offset); err != nil || !bytes.Equal(got, large[offset:]) {
				t.Errorf("from %d: %d bytes, %v", offset, len(got), err)
			}
		}
		if got, err := get(ctx, r, "a/b-c_d+e/..f", 0); err != nil || string(got) != "x" {
			t.Errorf("a name that begins with dots: %q, %v", got, err)
		}
	})
	t.Run("any way of reading gives the same", func(t *testing.T) {
		f, err := r.Open(ctx, "small", 7)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := iotest.TestReader(io.MultiReader(f), small[7:]); err != nil {
			t.Error(err)
		}
	})
	t.Run("an empty file is one", func(t *testing.T) {
		if got, err := get(ctx, r, "empty", 0); err != nil || len(got) > 0 {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("there is nothing at or behind the end", func(t *testing.T) {
		for name, offset := range map[string]int64{"empty": 1, "small": int64(len(small)), "a/b-c_d+e/1.0.patch": 1 << 40} {
			if _, err := get(ctx, r, name, offset); !errors.Is(err, fetch.ErrBeyond) {
				t.Errorf("%s from %d: %v", name, offset, err)
			}
		}
	})
	t.Run("what is absent is said to be", func(t *testing.T) {
		for _, name := range []string{"none", "none/at/all", "small/none", "a/b-c_d+e/1.0.patch.sig"} {
			if _, err := get(ctx, r, name, 0); !errors.Is(err, agent.ErrAbsent) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("names that lead elsewhere are refused", func(t *testing.T) {
		for _, name := range []string{"", ".", "..", "../small", "a/../small", "/small", "small/", "a//b", "./small", `a\b`,
			"a b", "a%2fb", "a?b", "a#b", "a\x00b", "ä", "a:b", strings.Repeat("a", 201)} {
			if _, err := get(ctx, r, name, 0); err == nil || errors.Is(err, agent.ErrAbsent) {
				t.Errorf("%q: %v", name, err)
			}
		}
		if _, err := get(ctx, r, "small", -1); err == nil {
			t.Error("a negative offset was taken")
		}
	})
	t.Run("reading ends with the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		f, err := r.Open(ctx, "a/b-c_d+e/1.0.patch", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.ReadFull(f, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if n, err := io.Copy(io.Discard, f); n > 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes and then %v", n, err)
		}
		if _, err := r.Open(ctx, "small", 0); !errors.Is(err, context.Canceled) {
			t.Errorf("opened after the end: %v", err)
		}
	})
	t.Run("several may read", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					if got, err := get(ctx, r, "a/b-c_d+e/1.0.patch", 17); err != nil || !bytes.Equal(got, large[17:]) {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func TestHTTPIsARepository(t *testing.T) {
	contract(t, func(t *testing.T, files map[string][]byte) agent.Repository {
		s := httptest.NewServer(http.StripPrefix("/releases/", serving(files)))
		t.Cleanup(s.Close)
		return closing(t, client(s.Listener.Addr().String(), nil))
	})
}

func TestHTTPWithoutRangesIsARepository(t *testing.T) {
	contract(t, func(t *testing.T, files map[string][]byte) agent.Repository {
		s := httptest.NewServer(http.StripPrefix("/releases/", http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			q.Header.Del("Range")
			serving(files)(w, q)
		})))
		t.Cleanup(s.Close)
		return closing(t, client(s.Listener.Addr().String(), nil))
	})
}

func TestADirectoryIsARepository(t *testing.T) {
	contract(t, func(t *testing.T, files map[string][]byte) agent.Repository {
		return fetch.Dir{Path: fill(t, t.TempDir(), files)}
	})
}

func TestFilesInlineAreARepository(t *testing.T) {
	contract(t, func(t *testing.T, files map[string][]byte) agent.Repository {
		return fetch.Inline{Files: files}
	})
}

func TestWhatIsNotInlineComesFromTheNext(t *testing.T) {
	contract(t, func(t *testing.T, files map[string][]byte) agent.Repository {
		here := map[string][]byte{"small": files["small"]}
		delete(files, "small")
		return fetch.Inline{Files: here, Next: fetch.Dir{Path: fill(t, t.TempDir(), files)}}
	})
}

func serving(files map[string][]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		data, ok := files[q.URL.Path]
		if !ok {
			http.NotFound(w, q)
			return
		}
		http.ServeContent(w, q, "", time.Time{}, bytes.NewReader(data))
	}
}

func fill(t *testing.T, dir string, files map[string][]byte) string {
	t.Helper()
	for name, data := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
