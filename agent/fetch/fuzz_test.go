package fetch_test

import (
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/agent/fetch"
)

func FuzzNames(f *testing.F) {
	for _, name := range []string{"timestamp.json", "a/b-c_d+e/1.0.patch", "..f", "a/..", "../a", "/a", "a//b", "", "ä"} {
		f.Add(name)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		if fetch.CheckName(name) != nil {
			return
		}
		full := filepath.Join(dir, filepath.FromSlash(name))
		if !filepath.IsLocal(name) || filepath.Clean(full) != full || !strings.HasPrefix(full, dir+"/") || full != dir+"/"+name || len(name) > 200 {
			t.Errorf("%q leads to %q", name, full)
		}
		for _, part := range strings.Split(name, "/") {
			if part == "" || part == "." || part == ".." {
				t.Errorf("%q has the part %q", name, part)
			}
		}
	})
}

func FuzzBases(f *testing.F) {
	for _, base := range []string{"https://updates.example/r/s", "https://updates.example/r?x", "/media/usb/x", "https://x/r", "https://me:pw@x:443/r/?q", "http://[::1]/", "/media", "file:///media/a%20b", "https://x/%2e%2e", "//x"} {
		f.Add(base)
	}
	f.Fuzz(func(t *testing.T, base string) {
		r, err := fetch.Open(base, fetch.Options{Clock: clock{}, Allow: []string{"https://updates.example/r", "/media/usb"}})
		if err != nil {
			return
		}
		u, err := url.Parse(base)
		if err != nil {
			u = &url.URL{Path: base} // a directory may have any name
		}
		at, want := path.Clean(u.Path), "/media/usb"
		if _, ok := r.(*fetch.HTTP); ok {
			want = "/r"
			if u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "updates.example") || u.Port() != "" && u.Port() != "443" {
				t.Errorf("%q was allowed", base)
			}
		} else if strings.HasPrefix(base, "/") {
			at = path.Clean(base)
		}
		if at != want && !strings.HasPrefix(at, want+"/") {
			t.Errorf("%q was allowed", base)
		}
	})
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 3-7/10", "bytes 3-7/*", "bytes */10", "bytes 7-3/10", "bytes 3-7/7", "BYTES 1-2/3",
		"bytes 00-0/1", "bytes 9223372036854775807-9223372036854775807/*", "bytes 1-2/3, 4-5/6", "bytes +1-2/3", "bytes -7/10", "bytes 1-/10",
		"bytes 1-2/", "bytes\t1-2/3"} {
		f.Add(s)
	}
	form := regexp.MustCompile(`^(?i:bytes) \d{1,18}-\d{1,18}/(\d{1,18}|\*)$`)
	f.Fuzz(func(t *testing.T, s string) {
		first, last, total, err := fetch.ParseRange(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1200 {
				t.Errorf("%q: %q", s, err)
			}
			return
		}
		if !form.MatchString(s) || first < 0 || last < first || total != -1 && total <= last {
			t.Errorf("%q is %d to %d of %d", s, first, last, total)
		}
		whole := fmt.Sprint(total)
		if total == -1 {
			whole = "*"
		}
		again := fmt.Sprintf("bytes %d-%d/%s", first, last, whole)
		if a, b, c, err := fetch.ParseRange(again); err != nil || a != first || b != last || c != total {
			t.Errorf("%q is not %q: %d %d %d %v", s, again, a, b, c, err)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, s := range []string{"0", "17", "3601", "99999999999999999999", "-1", "1e3", "", "Wed, 25 Nov 2026 12:01:00 GMT",
		"Wednesday, 25-Nov-26 12:01:00 GMT", "Wed Nov 25 12:01:00 2026"} {
		f.Add(s, "Wed, 25 Nov 2026 12:00:00 GMT")
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		after, told := fetch.ParseRetry(value, date, clock{now: func() time.Time { return now }})
		if after < 0 || after > time.Hour || !told && after != 0 {
			t.Errorf("%q at %q: %v, %t", value, date, after, told)
		}
	})
}
