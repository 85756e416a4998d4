package update_test

import (
	"bytes"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/update"
)

// A manifest that is accepted is one of ours: written out it is accepted again, and says the same.
func FuzzParseManifest(f *testing.F) {
	for _, m := range []string{"pump/2", "pump/3"} {
		text, err := releases().manifest(m).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := update.ParseManifest(file)
		if err != nil {
			return
		}
		text, err := m.Encode()
		if err != nil {
			t.Fatalf("accepted, and cannot be written: %v", err)
		}
		again, err := update.ParseManifest(text)
		if err != nil {
			t.Fatalf("accepted, and not when written out: %v", err)
		}
		if second, err := again.Encode(); err != nil || !bytes.Equal(text, second) {
			t.Errorf("written out twice it is not the same, %v", err)
		}
	})
}

func FuzzParseWindow(f *testing.F) {
	for _, s := range []string{"22:30-05:00", "00:00-24:00", "01:00-02:00Z", "", "1:00-2:00", "22:30"} {
		f.Add(s, int64(1_760_000_000))
	}
	f.Fuzz(func(t *testing.T, s string, at int64) {
		w, err := update.ParseWindow(s)
		if err != nil {
			return
		}
		now := time.Unix(at%(1<<33), 0)
		wait := w.Opens(now)
		if wait < 0 || wait > 25*time.Hour { // a day in which the clocks go back
			t.Fatalf("window %q opens in %s", s, wait)
		}
		if left := w.Opens(now.Add(wait)); left != 0 {
			t.Errorf("window %q opens in %s, and then it takes %s more", s, wait, left)
		}
	})
}

// Whatever the documents say, the running slot is not written, and what runs in the end is a release that was signed.
func FuzzDocuments(f *testing.F) {
	for _, name := range []string{"journal", "holdings", "quarantine", "floor-0", "history"} {
		f.Add(name, []byte(`{}`))
	}
	f.Add("journal", []byte(`{"phase":"staging","job":{"id":"j","release":"pump/2"},"from":"a","target":"b","segment":7,"part":1}`))
	f.Add("journal", []byte(`{"phase":"staging","job":{"id":"j","release":"pump/2"},"from":"b","target":"a","segment":-1}`))
	f.Add("journal", []byte(`{"phase":"arming","job":{"id":"j","release":"pump/2"},"from":"a","target":"a","trials":-3}`))
	f.Add("holdings", []byte(`{"a":{"release":{"name":"pump/9","seq":99}},"b":{}}`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if board.CheckName("system."+name) != nil || len(body) > 64<<10 {
			return
		}
		m := newMachine(releases())
		if err := m.disk.Files("warden").WriteFile("system."+name, board.Seal(body)); err != nil {
			return // not a name that is written
		}
		if err := m.start(); err != nil {
			return // said
		}
		_, _ = m.live(t.Context()) // an error is said as well
		_ = m.job("job-f", "pump/2")
		_, _ = m.live(t.Context())
		if booted := m.loader.Booted(); m.holds(booted) == "" {
			t.Errorf("slot %s runs, which holds no release", booted)
		}
	})
}
