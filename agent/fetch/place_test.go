package fetch_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/agent/fetch"
)

func TestABasePicksItsRepository(t *testing.T) {
	for base, want := range map[string]string{
		"https://updates.example":               "*fetch.HTTP",
		"https://updates.example/":              "*fetch.HTTP",
		"http://me:geheim@10.0.0.1:8080/r/?x=y": "*fetch.HTTP",
		"https://[2001:db8::1]:8443/r":          "*fetch.HTTP",
		"/media/usb":                            "fetch.Dir",
		"/media/usb/":                           "fetch.Dir",
		"file:///media/usb":                     "fetch.Dir",
		"file:///media/my%20stick":              "fetch.Dir",
		"/":                                     "fetch.Dir",

		"": "", "updates.example": "", "./usb": "", "usb": "", "file://usb": "", "file:/media": "", "ftp://x/": "", "HTTPS://x/": "",
		"//updates.example/": "", "https:/x": "", "https://": "", "https:///x": "", "https://:443/": "", "http://?x": "",
		"https://x/a/../b": "", "https://x/a/./b": "", "https://x//a": "", "https://x/a//": "", "https://x/%2e%2e/a": "",
		"https://x/a%2fb": "", `https://x/a\b`: "", "https://x/a%5cb": "", "https://x/a%5Cb": "", "https://x/#a": "", "https://x/%zz": "",
		"https://x/a\nb": "", "https://x/%0a": "", "https://x:port/": "", "https://me:geheim@x:port/": "", "https://me:geheim@/x": "",
		"https://me:geheim@x/a/../b": "",
		"/media/../etc":              "", "/media/./usb": "", "/media//usb": "", "/media\x00": "", "file:///media/../etc": "",
		"file:///media/%2e%2e/etc": "", "file:///media?x": "", "file:///media#x": "",
		"https://" + strings.Repeat("x", 2000): "", "/" + strings.Repeat("x", 2000): "",
	} {
		r, err := fetch.Open(base, fetch.Options{Clock: clock{}, Allow: nil})
		if strings.HasPrefix(want, "fetch.Dir") {
			if err == nil {
				t.Errorf("%s: a directory that nobody listed was taken", base)
			}
			r, err = fetch.Open(base, fetch.Options{Allow: []string{"/"}})
		}
		if got := fmt.Sprintf("%T", r); err == nil && got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v; want %q", base, got, err, want)
		}
		if err != nil {
			contains(t, err, "repository")
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("error tells the password: %v", err)
			}
		}
		if (fetch.CheckBase(base) == nil) != (want != "") {
			t.Errorf("CheckBase(%q) = %v", base, fetch.CheckBase(base))
		}
	}
}

func TestOnlyWhatIsBelowAListedBaseIsAllowed(t *testing.T) {
	for _, tt := range []struct {
		base, list string
		want       bool
	}{
		{"https://x/r", "https://x/r", true},
		{"https://x/r/", "https://x/r", true},
		{"https://x/r", "https://x/r/", true},
		{"https://x/r/s", "https://x/r", true},
		{"https://x/r", "https://x", true},
		{"https://x:443/r", "https://X/", true},
		{"http://x:80/r", "http://x", true},
		{"https://me:pw@x/r?a=b", "https://x/r", true},
		{"https://x/r", "https://y https://x", true},
		{"https://x/rs", "https://x/r", false},
		{"https://x/", "https://x/r", false},
		{"http://x/r", "https://x/r", false},
		{"https://x/r", "http://x/r", false},
		{"https://x:8443/r", "https://x/r", false},
		{"https://x.evil/r", "https://x", false},
		{"https://x@evil/r", "https://x", false},
		{"https://evil/x/r", "https://x/r", false},
		{"https://x/R", "https://x/r", false},
		{"https://x/r", "/", false},
		{"/media/usb", "/media", true},
		{"/media", "/media/", true},
		{"file:///media/usb", "/media", true},
		{"/media/usb", "file:///media", true},
		{"/media/usb", "/", true},
		{"/mediausb", "/media", false},
		{"/", "/media", false},
		{"/etc", "/media https://x", false},
		{"/media", "https://x", false},
		{"https://x", "https://y/../x https://x", false}, // a list that is not understood allows nothing behind that
	} {
		_, err := fetch.Open(tt.base, fetch.Options{Clock: clock{}, Allow: strings.Fields(tt.list)})
		if (err == nil) != tt.want {
			t.Errorf("%s, allowed %s: %v", tt.base, tt.list, err)
		}
	}
}

func TestOptionsThatCannotBeAreRefusedAtOnce(t *testing.T) {
	for want, o := range map[string]fetch.Options{
		"no clock":           {},
		"only good together": {Clock: clock{}, KeyFile: "key"},
	} {
		_, err := fetch.Open("https://updates.example", o)
		contains(t, err, want)
	}
	h := &fetch.HTTP{Base: "/media/usb", Options: fetch.Options{Clock: clock{}}}
	_, err := get(t.Context(), h, "f", 0)
	contains(t, err, "not a URL")
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
