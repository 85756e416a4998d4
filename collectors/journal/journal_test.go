package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/journal"
)

var records = []record{
	{{"MESSAGE", "hello é"}, {"PRIORITY", "6"}, {"_SYSTEMD_UNIT", "ssh.service"}, {"SYSLOG_IDENTIFIER", "sshd"}, {"_PID", "42"}},
	{{"MESSAGE", "bin\x00\xffary\x1b[2J"}, {"PRIORITY", "3"}, {"_SYSTEMD_UNIT", "ssh.service"}, {"_PID", "42"}},
	{{"MESSAGE", strings.Repeat("x", 10000)}, {"PRIORITY", "3"}, {"_SYSTEMD_UNIT", "ssh.service"}, {"_PID", "42"}, {"_PID", "43"}},
	{{"MESSAGE", "two\nlines"}, {"MESSAGE", "second"}, {"PRIORITY", "4"}, {"_SYSTEMD_UNIT", "cron.service"}},
	{{"MESSAGE", "Started ssh.service."}, {"PRIORITY", "6"}, {"_SYSTEMD_UNIT", "init.scope"}, {"UNIT", "ssh.service"}, {"_PID", "1"}},
	{{"MESSAGE", "a lie"}, {"PRIORITY", "6"}, {"_SYSTEMD_UNIT", "evil.service"}, {"UNIT", "ssh.service"}, {"_PID", "66"}},
}

func TestTailOfARealJournal(t *testing.T) {
	p, _ := realJournal(t, records)
	at := func(s int64) time.Time { return time.Unix(17e8+s, 0).UTC() }
	for _, tt := range []struct {
		unit            string
		lines, priority int
		want            []journal.Entry
	}{
		{"ssh.service", 200, 7, []journal.Entry{
			{Time: at(0), Unit: "ssh.service", Identifier: "sshd", PID: 42, Priority: 6, Message: "hello é"},
			{Time: at(1), Unit: "ssh.service", PID: 42, Priority: 3, Message: "bin\ufffdary[2J"},
			{Time: at(2), Unit: "ssh.service", PID: 42, Priority: 3, Truncated: true},
			{Time: at(4), Unit: "ssh.service", PID: 1, Priority: 6, Message: "Started ssh.service."},
		}},
		{"ssh.service", 1, 3, []journal.Entry{{Time: at(2), Unit: "ssh.service", PID: 42, Priority: 3, Truncated: true}}},
		{"cron.service", 5, 7, []journal.Entry{{Time: at(3), Unit: "cron.service", Priority: 4, Message: "two\nlines"}}},
		{"evil.service", 5, 7, []journal.Entry{{Time: at(5), Unit: "evil.service", PID: 66, Priority: 6, Message: "a lie"}}},
		{"no-such.service", 5, 7, nil},
	} {
		got, err := p.Tail(t.Context(), tt.unit, tt.lines, tt.priority)
		for i := range got {
			if got[i].Cursor == "" {
				t.Errorf("%s: entry %d has no cursor", tt.unit, i)
			}
			got[i].Cursor = ""
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("tail %s %d %d: %v\n got %+v\nwant %+v", tt.unit, tt.lines, tt.priority, err, got, tt.want)
		}
	}
}

func TestTailIsBounded(t *testing.T) {
	var many []record
	for i := range 300 {
		many = append(many, record{{"MESSAGE", fmt.Sprintf("%03d %s", i, strings.Repeat("<", 3000))}, {"PRIORITY", "6"}, {"_SYSTEMD_UNIT", "ssh.service"}})
	}
	p, _ := realJournal(t, many)
	got, err := p.Tail(t.Context(), "ssh.service", journal.TailLines, 7)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got)
	if err != nil || len(b) > journal.TailBytes || len(got) < 2 {
		t.Errorf("%d entries in %d bytes, %v", len(got), len(b), err)
	}
	for i, e := range got {
		if want := fmt.Sprintf("%03d <", 300-len(got)+i); !strings.HasPrefix(e.Message, want) || !e.Truncated {
			t.Errorf("entry %d of %d begins with %.8q, truncated %t, want %q: the newest count", i, len(got), e.Message, e.Truncated, want)
		}
	}
}

func TestTailRefusesWhatItCannotBe(t *testing.T) {
	p, dir := play(t, "feed")
	for _, tt := range []struct {
		unit            string
		lines, priority int
	}{
		{"--user.service", 5, 7}, {"*", 5, 7}, {"", 5, 7}, {"ssh.service\x00", 5, 7}, {"ssh.service", 0, 7}, {"ssh.service", 201, 7},
		{"ssh.service", -1, 7}, {"ssh.service", 5, 8}, {"ssh.service", 5, -1},
	} {
		if _, err := p.Tail(t.Context(), tt.unit, tt.lines, tt.priority); err == nil {
			t.Errorf("tail %q %d %d was not refused", tt.unit, tt.lines, tt.priority)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "argv")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("journalctl was called: %v", err)
	}
}

func TestWhereThereIsNoJournalctlThereIsNoData(t *testing.T) {
	p := journal.Program{filepath.Join(t.TempDir(), "journalctl")}
	if _, err := p.Tail(t.Context(), "ssh.service", 5, 7); !errors.Is(err, collectors.ErrNoData) {
		t.Errorf("tail: %v", err)
	}
	if err := journal.New(journal.Config{Program: p, Clock: newHand()}).Stream(t.Context(), nil); !errors.Is(err, collectors.ErrNoData) {
		t.Errorf("stream: %v", err)
	}
}

// follow runs a stream in the background; what it emits comes on the channel.
func follow(t *testing.T, j *journal.Journal) (samples <-chan collectors.Sample, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c, done := make(chan collectors.Sample), make(chan error, 1) // one: the result
	go func() {
		done <- j.Stream(ctx, func(s collectors.Sample) {
			select {
			case c <- s:
			case <-ctx.Done():
			}
		})
	}()
	return c, func() error { cancel(); return <-done }
}

// next waits for a sample.
func next(t *testing.T, samples <-chan collectors.Sample) collectors.Sample {
	t.Helper()
	select {
	case s := <-samples:
		measured(t, s)
		return s
	case <-time.After(30 * time.Second):
		t.Fatal("no sample")
		panic("unreachable")
	}
}

func text(s collectors.Sample, field string) string {
	v, _ := s.Field(field)
	out, _ := v.Text()
	return out
}

func number(s collectors.Sample, field string) int {
	v, _ := s.Field(field)
	n, _ := v.Number()
	return int(n)
}

func TestFollowARealJournalAcrossARestart(t *testing.T) {
	p, dir := realJournal(t, records)
	first, err := p.Tail(t.Context(), "ssh.service", 200, 7)
	if err != nil {
		t.Fatal(err)
	}
	saved := first[0].Cursor // as if the agent had been stopped after the first entry
	config := journal.Config{
		Program: p, Clock: newHand(), Filter: journal.Filter{Units: []string{"ssh.service", "cron.service"}, Priority: 7}, Bytes: 4,
		Load: func() (string, error) { return saved, nil },
		Save: func(c string) error { saved = c; return nil },
	}
	samples, stop := follow(t, journal.New(config))
	for _, want := range []struct {
		unit, message string
		truncated     bool
	}{{"ssh.service", "bin", true}, {"ssh.service", "", true}, {"cron.service", "two\n", true}, {"ssh.service", "Star", true}} {
		s := next(t, samples)
		v, _ := s.Field("truncated")
		if b, _ := v.Bool(); s.Source != "log" || s.Instance != want.unit || text(s, "unit") != want.unit || text(s, "message") != want.message || b != want.truncated {
			t.Errorf("sample = %+v, want %+v", s, want)
		}
	}
	// What is written while the stream runs comes too.
	write(t, dir, 10, []record{{{"MESSAGE", "new"}, {"PRIORITY", "2"}, {"_SYSTEMD_UNIT", "ssh.service"}, {"_PID", "7"}, {"SYSLOG_IDENTIFIER", "sshd"}}})
	s := next(t, samples)
	if text(s, "message") != "new" || number(s, "priority") != 2 || number(s, "pid") != 7 || text(s, "identifier") != "sshd" || text(s, "written") != "2023-11-14T22:13:30.000000Z" {
		t.Errorf("sample = %+v", s)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Stream = %v", err)
	}
	// Written while it did not run: found by the cursor that was saved at the end.
	if saved == first[0].Cursor {
		t.Error("no cursor was saved")
	}
	write(t, dir, 20, []record{{{"MESSAGE", "later"}, {"PRIORITY", "2"}, {"_SYSTEMD_UNIT", "ssh.service"}}})
	samples, stop = follow(t, journal.New(config))
	got := text(next(t, samples), "message")
	if got == "new" { // the stop may have come before the sample counted as taken
		got = text(next(t, samples), "message")
	}
	if got != "late" {
		t.Errorf("after the restart: %q", got)
	}
	_ = stop() // its error is that of the first
}

func TestAFloodIsCutAndCounted(t *testing.T) {
	p, _ := play(t, "flood")
	clock := newHand()
	samples, stop := follow(t, journal.New(journal.Config{Program: p, Clock: clock, Lines: 5}))
	last, seconds, perSecond := -1, 0, []int{0}
	for seconds < 20 {
		select {
		case s := <-samples:
			n, err := strconv.Atoi(text(s, "message"))
			if err != nil {
				t.Fatal(err)
			}
			if dropped := number(s, "dropped_count"); n != last+1+dropped {
				t.Errorf("line %d after line %d, and %d said to be dropped", n, last, dropped)
			}
			last = n
			perSecond[seconds]++
		case <-clock.asked: // the reader waits for the next second
			clock.move(time.Second)
			seconds++
			perSecond = append(perSecond, 0)
		case <-time.After(30 * time.Second):
			t.Fatal("nothing happens")
		}
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Stream = %v", err)
	}
	// The last sample of a second may still be on its way when the reader asks for the next second.
	total := 0
	for i, n := range perSecond {
		if total += n; n > 6 && i > 0 {
			t.Errorf("%d samples in second %d", n, i)
		}
	}
	if total < 10+5*19-1 || total > 10+5*19 {
		t.Errorf("samples a second = %v, want 10 and then 5 each", perSecond)
	}
	if last > 20*20*5 {
		t.Errorf("read up to line %d in 20 s: the child was not made to wait", last)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	p, _ := play(t, "deaf")
	samples, stop := follow(t, journal.New(journal.Config{Program: p, Clock: newHand()}))
	pid := number(next(t, samples), "pid")
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the child is not there: %v", err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Stream = %v", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d, which ignores SIGTERM, after the end: %v", pid, err)
	}
}

func TestACursorOfAnotherJournalIsForgotten(t *testing.T) {
	p, dir := play(t, "nosuchcursor")
	j := journal.New(journal.Config{Program: p, Clock: newHand(), Load: func() (string, error) { return "s=1;i=2", nil }})
	for range 2 {
		if err := j.Stream(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "seek to cursor") {
			t.Errorf("Stream = %v, want what journalctl said", err)
		}
	}
	argv := calls(t, dir)
	if len(argv) != 2 || !strings.HasSuffix(argv[0], "--after-cursor=s=1;i=2") || !strings.HasSuffix(argv[1], "--lines=0") {
		t.Errorf("calls = %q", argv)
	}
}

func TestADamagedCursorIsNotHandedOn(t *testing.T) {
	p, dir := play(t, "nosuchcursor")
	for _, c := range []string{"s=1 --file=/etc/shadow", "s=1\n", "\x00", strings.Repeat("s", 300), "s=1;\xff"} {
		j := journal.New(journal.Config{Program: p, Clock: newHand(), Load: func() (string, error) { return c, nil }})
		_ = j.Stream(t.Context(), nil) // it ends at once, as always with this program
	}
	for _, argv := range calls(t, dir) {
		if strings.Contains(argv, "cursor=") {
			t.Errorf("called with %q", argv)
		}
	}
}

func TestTheFilterChangesWithoutAGap(t *testing.T) {
	p, dir := play(t, "feed")
	changes := make(chan journal.Filter, 1)
	clock, saves := newHand(), make(chan string, 10) // room for all that may come
	j := journal.New(journal.Config{Program: p, Clock: clock, Changes: changes, Save: func(c string) error { saves <- c; return nil }})
	samples, stop := follow(t, j)
	feed := func(lines ...string) func() error {
		f, err := os.OpenFile(filepath.Join(dir, "feed"), os.O_WRONLY, 0) // waits for the reader
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
			t.Fatal(err)
		}
		return f.Close
	}
	closeOne := feed(`{"MESSAGE":"one","__CURSOR":"s=1"}`)
	if s := next(t, samples); text(s, "message") != "one" {
		t.Errorf("sample = %+v", s)
	}
	if first := <-saves; first != "s=1" {
		t.Errorf("first cursor saved: %q", first)
	}
	closeMore := feed(`{"MESSAGE":"two","__CURSOR":"s=2"}`, `garbage`, `{"MESSAGE":"`+strings.Repeat("y", 100_000)+`"}`, `{"MESSAGE":"three","__CURSOR":"s=3"}`)
	for i, want := range []string{"two", "three"} {
		s := next(t, samples)
		if text(s, "message") != want || number(s, "priority") != 6 || number(s, "dropped_count") != 2*i {
			t.Errorf("sample %d = %+v", i, s)
		}
	}
	clock.move(59 * time.Second)
	if len(saves) != 0 {
		t.Error("a cursor was saved twice within a minute")
	}
	clock.move(time.Second)
	if second := <-saves; second != "s=3" {
		t.Errorf("cursor saved after a minute: %q", second)
	}
	changes <- journal.Filter{Units: []string{"ssh.service", "cron.service"}, Priority: 6}
	for len(calls(t, dir)) < 2 { // else the feed could go to the first child, which is being ended
		<-time.After(5 * time.Millisecond)
	}
	closeSecond := feed(`{"MESSAGE":"four","__CURSOR":"s=4"}`, `{"MESSAGE":"five","__CURSOR":"s=5"}`)
	for _, want := range []string{"four", "five"} {
		if s := next(t, samples); text(s, "message") != want {
			t.Errorf("sample = %+v, want %s", s, want)
		}
	}
	_ = stop()                                           // as below
	if last := <-saves; last != "s=4" && last != "s=5" { // the stop may come before the fifth counts as taken
		t.Errorf("cursor saved at the end: %q", last)
	}
	_, _, _ = closeOne(), closeMore(), closeSecond() // of pipes whose readers are gone
	argv := calls(t, dir)
	fields := "--output=json --no-pager --quiet --output-fields=MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_PID --follow "
	want := []string{fields + "--priority=4 --lines=0", fields + "--priority=6 --unit=ssh.service --unit=cron.service --no-tail --after-cursor=s=3"}
	if !slices.Equal(argv, want) {
		t.Errorf("calls = %q, want %q", argv, want)
	}
}

func TestABadFilterCanBeReplaced(t *testing.T) {
	p, dir := play(t, "nosuchcursor")
	changes := make(chan journal.Filter, 1)
	j := journal.New(journal.Config{Program: p, Clock: newHand(), Changes: changes, Filter: journal.Filter{Units: []string{"-x"}}})
	if err := j.Stream(t.Context(), nil); err == nil || !strings.Contains(err.Error(), `"-x"`) {
		t.Errorf("Stream = %v", err)
	}
	changes <- journal.Filter{Priority: 9}
	if err := j.Stream(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "priority 9") {
		t.Errorf("Stream = %v", err)
	}
	changes <- journal.Filter{Priority: 7}
	_ = j.Stream(t.Context(), nil) // this program always ends at once
	if argv := calls(t, dir); len(argv) != 1 || !strings.Contains(argv[0], "--priority=7") {
		t.Errorf("calls = %q", argv)
	}
}

// measured fails the test when a sample holds a field that the table does not explain.
func measured(t *testing.T, s collectors.Sample) {
	t.Helper()
	for _, f := range s.Fields {
		if !slices.ContainsFunc(journal.Measures(), func(m collectors.Measure) bool { return m.Source == s.Source && m.Field == f.Name }) {
			t.Errorf("%s is not in the table of %s", f.Name, s.Source)
		}
	}
}
