package journal_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"holdfast/collectors/journal"
)

// The test program stands for journalctl when it is called with this in its environment.
const asJournalctl = "HOLDFAST_TEST_AS_JOURNALCTL"

func TestMain(m *testing.M) {
	if mode := os.Getenv(asJournalctl); mode != "" {
		playJournalctl(mode)
	}
	os.Exit(m.Run())
}

// playJournalctl notes its arguments, says what it has to say, and exits.
func playJournalctl(mode string) {
	dir, _, _ := strings.Cut(os.Args[1], "\n")
	f, err := os.OpenFile(filepath.Join(dir, "argv"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = json.NewEncoder(f).Encode(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(9)
	}
	switch mode {
	case "feed":
		feed, err := os.Open(filepath.Join(dir, "feed"))
		if err != nil {
			os.Exit(9)
		}
		_, _ = io.Copy(os.Stdout, feed)
	case "flood":
		for i := 0; ; i++ {
			if _, err := fmt.Printf(`{"MESSAGE":"%d","__CURSOR":"s=%d"}`+"\n", i, i); err != nil {
				os.Exit(1)
			}
		}
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Printf(`{"MESSAGE":"deaf","_PID":"%d"}`+"\n", os.Getpid())
		time.Sleep(time.Hour) // select {} would be a deadlock, and end by itself
	case "nosuchcursor":
		fmt.Fprintln(os.Stderr, "Failed to seek to cursor: Invalid argument")
		os.Exit(1)
	}
	os.Exit(0)
}

// play returns a journalctl that plays, and its directory.
func play(t *testing.T, mode string) (journal.Program, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Setenv(asJournalctl, mode)
	if mode == "feed" {
		if err := syscall.Mkfifo(filepath.Join(dir, "feed"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return journal.Program{self, dir}, dir
}

// calls returns the arguments of every call so far.
func calls(t *testing.T, dir string) (argv []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "argv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var args []string
		if err := json.Unmarshal([]byte(line), &args); err != nil {
			t.Fatal(err)
		}
		argv = append(argv, strings.Join(args, " "))
	}
	return argv
}

// hand is a clock that a test moves.
type hand struct {
	mu     sync.Mutex
	now    time.Time
	timers []timer
	asked  chan time.Duration // one for each timer that is asked for; room for what no test looks at
}

type timer struct {
	at time.Time
	c  chan time.Time
}

func newHand() *hand {
	return &hand{now: time.Unix(1.7e9, 0), asked: make(chan time.Duration, 1000)}
}

func (h *hand) Trusted() bool { return true }

func (h *hand) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hand) Timer(d time.Duration) (<-chan time.Time, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := make(chan time.Time, 1)
	if d <= 0 {
		c <- h.now
	} else {
		h.timers = append(h.timers, timer{h.now.Add(d), c})
	}
	h.asked <- d
	return c, func() {}
}

// move lets d pass.
func (h *hand) move(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
	left := h.timers[:0]
	for _, t := range h.timers {
		if t.at.After(h.now) {
			left = append(left, t)
		} else {
			t.c <- h.now
		}
	}
	h.timers = left
}

const journalRemote = "/lib/systemd/systemd-journal-remote"

// record is an entry as the journal's export format has it (systemd.io/JOURNAL_EXPORT_FORMATS).
type record [][2]string

// write adds entries, one a second, to a real journal in dir.
func write(t *testing.T, dir string, first int, records []record) {
	t.Helper()
	var b bytes.Buffer
	for i, r := range records {
		us := int64(first+i) * 1e6
		fmt.Fprintf(&b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=4b6d2b6b2e4f4b7ea4f3d9a6a0a5c0de\n", 17e14+us, 1e6+us)
		for _, f := range r {
			b.WriteString(f[0] + "\n")
			_ = binary.Write(&b, binary.LittleEndian, uint64(len(f[1]))) // to memory
			b.WriteString(f[1] + "\n")
		}
		b.WriteString("\n")
	}
	cmd := exec.Command(journalRemote, "-o", filepath.Join(dir, "system.journal"), "-")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("systemd-journal-remote: %v: %s", err, out)
	}
}

// realJournal returns the real journalctl on a real journal.
func realJournal(t *testing.T, records []record) (journal.Program, string) {
	t.Helper()
	path, err := exec.LookPath("journalctl")
	if err != nil {
		t.Skip("skipped: journalctl is not installed (Debian: systemd)")
	}
	if _, err := os.Stat(journalRemote); err != nil {
		t.Skip("skipped: no journal can be written here (Debian: systemd-journal-remote)")
	}
	if id, err := os.ReadFile("/etc/machine-id"); err != nil || len(id) < 32 { // journald's files carry it
		t.Skip("skipped: this machine has no id yet (systemd-machine-id-setup gives it one)")
	}
	dir := t.TempDir()
	write(t, dir, 0, records)
	return journal.Program{path, "-D", dir}, dir
}
