//go:build linux

package lab_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/internal/lab"
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestAConsoleFindsALineThatComesLater(t *testing.T) {
	var log strings.Builder
	c := lab.NewConsole(&log)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- c.Follow(r) }()
	fmt.Fprint(w, "one\r\ntwo\n") // the reader has them when this returns, and may not have kept them
	go fmt.Fprint(w, "three\nfo")
	i, line, err := c.Wait(soon(t), 0, regexp.MustCompile("^th"))
	if err != nil || i != 2 || line.Text != "three" {
		t.Fatalf("Wait = %d, %v, %v", i, line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := c.Wait(ctx, i+1, regexp.MustCompile("^three")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a line before was found again: %v", err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Wait(soon(t), 0, regexp.MustCompile("five")); !errors.Is(err, lab.ErrOff) {
		t.Errorf("waiting for a machine that is off: %v", err)
	}
	if !regexp.MustCompile(`(?m)^ +0\.\d\d one$\n^ +0\.\d\d two$\n^ +\d\.\d\d three$\n^ +\d\.\d\d fo$`).MatchString(log.String()) {
		t.Errorf("log:\n%s", log.String())
	}
}

// guest is what a machine's end of a socket does.
func guest(t *testing.T, serve func(net.Conn)) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serve(conn)
		}
	}()
	return socket
}

func sh(t *testing.T) *lab.Shell {
	t.Helper()
	socket := guest(t, func(conn net.Conn) {
		defer conn.Close()
		f, err := conn.(*net.UnixConn).File()
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		cmd := exec.Command("sh")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, f
		_ = cmd.Run() // ends with the connection
	})
	s, err := lab.DialShell(soon(t), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestAShellTellsWhatAScriptSaidAndHowItEnded(t *testing.T) {
	s := sh(t)
	for _, tt := range []struct {
		script, want string
		status       int
	}{
		{"echo one; echo two >&2", "one\ntwo", 0},
		{"echo why; exit 3", "why", 3},
		{"cat", "", 0}, // reads nothing of what comes after it
		{"cd /\nfor i in 1 2; do\necho $i\ndone", "1\n2", 0},
		{"pwd | grep -qx /", "", 1}, // the one before was a shell of its own
		{"printf 'no end'", "no end", 0},
		{"echo '@@x'", "@@x", 0},
	} {
		out, err := s.Do(soon(t), tt.script)
		var status *lab.StatusError
		if errors.As(err, &status); out != tt.want || (status == nil) != (tt.status == 0) || status != nil && status.Status != tt.status {
			t.Errorf("%q: %q, %v; want %q, status %d", tt.script, out, err, tt.want, tt.status)
		}
	}
}

func TestAFileOfManyLinesArrivesInTheGuest(t *testing.T) {
	s, path := sh(t), filepath.Join(t.TempDir(), "file")
	data := make([]byte, 10_000)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	if err := s.Put(soon(t), path, data); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAShellThatDoesNotAnswerIsGivenUp(t *testing.T) {
	silent := guest(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	echo := guest(t, func(conn net.Conn) { _, _ = io.Copy(conn, conn) }) // a terminal nobody reads
	for _, socket := range []string{silent, echo} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := lab.DialShell(ctx, socket); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("DialShell: %v", err)
		}
		cancel()
	}
}

func TestQMPPassesOverEvents(t *testing.T) {
	var asked []string
	socket := guest(t, func(conn net.Conn) {
		defer conn.Close()
		in := bufio.NewScanner(conn)
		fmt.Fprintln(conn, `{"QMP":{"version":{}}}`)
		for _, answer := range []string{`{"return":{}}`, `{"event":"RESET"}` + "\n" + `{"return":{"running":true}}`} {
			in.Scan()
			asked = append(asked, in.Text())
			fmt.Fprintln(conn, answer)
		}
	})
	out, err := lab.AskQMP(soon(t), socket, "query-status", map[string]int{"x": 1})
	if err != nil || string(out) != `{"running":true}` {
		t.Fatalf("%s, %v", out, err)
	}
	if want := `{"execute":"query-status","arguments":{"x":1}}`; asked[1] != want {
		t.Errorf("asked %s, want %s", asked[1], want)
	}
	refusing := guest(t, func(conn net.Conn) {
		defer conn.Close()
		fmt.Fprintf(conn, "{\"QMP\":{}}\n{\"return\":{}}\n{\"error\":{\"class\":\"C\",\"desc\":\"no such thing\"}}\n")
		_, _ = io.Copy(io.Discard, conn)
	})
	if _, err := lab.AskQMP(soon(t), refusing, "x", nil); err == nil || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("a refusal is %v", err)
	}
}

func TestAMachineIsOnUntilItIsCut(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "qemu")
	script := "#!/bin/sh\necho \"$@\"\necho ready\nexec sleep 600\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	m := &lab.Machine{Dir: dir, Program: program, Args: lab.Arm64{Disk: "file=d,format=raw"}.Args()}
	defer m.Close()
	for range 2 { // a machine is started again
		from := 0
		if m.Console != nil {
			from = m.Console.Len()
		}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.Console.Wait(soon(t), from, regexp.MustCompile("-drive if=none,id=disk,file=d,format=raw")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := m.Console.Wait(soon(t), from, regexp.MustCompile("^ready$")); err != nil {
			t.Fatal(err)
		}
		if cpu, err := m.CPU(); err != nil || cpu > time.Minute {
			t.Errorf("CPU = %s, %v", cpu, err)
		}
		if err := m.Cut(); err != nil {
			t.Fatal(err)
		}
		if m.On() {
			t.Error("on after the cut")
		}
	}
	if _, err := m.CPU(); !errors.Is(err, lab.ErrOff) {
		t.Errorf("CPU of a machine that is off: %v", err)
	}
}

func TestADiskHoldsItsPartitions(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("script"), []byte("echo hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := lab.BootScript(soon(t), path("boot.scr"), "echo hello\n"); err != nil {
		t.Fatal(err)
	}
	if err := lab.FAT(soon(t), path("fat"), 8, map[string]string{"boot.scr": path("boot.scr")}); err != nil {
		t.Fatal(err)
	}
	id := "5f2b3c1e-7d44-4b6a-9c1f-0a8e6d2f4b10"
	for _, name := range []string{"ext4", "again"} {
		t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
		t.Setenv("E2FSPROGS_FAKE_TIME", "1000000000")
		if err := lab.Ext4(soon(t), path(name), 8, "", "data", id); err != nil {
			t.Fatal(err)
		}
	}
	one, two := read(t, path("ext4")), read(t, path("again"))
	if one != two {
		t.Error("the same directory makes another file system")
	}
	odd := strings.Repeat("odd", lab.MiB)
	if err := os.WriteFile(path("odd"), []byte(odd), 0o644); err != nil {
		t.Fatal(err)
	}
	at, err := lab.WriteDisk(soon(t), path("disk"), []lab.Partition{{Name: "boot", MiB: 8, From: path("fat"), Boot: true},
		{Name: "env", MiB: 1}, {Name: "data", MiB: 9, From: path("ext4")}, {Name: "odd", MiB: 3, From: path("odd")}})
	if err != nil {
		t.Fatal(err)
	}
	disk := read(t, path("disk"))
	for name, want := range map[string]int64{"boot": 1, "env": 9, "data": 10, "odd": 19} {
		if at[name] != want*lab.MiB {
			t.Errorf("%s is at %d", name, at[name])
		}
	}
	if disk[at["data"]:][:8*lab.MiB] != one || disk[at["boot"]:][:8*lab.MiB] != read(t, path("fat")) || disk[at["odd"]:][:len(odd)] != odd {
		t.Error("a partition does not hold its image")
	}
	if strings.Trim(disk[at["env"]:at["data"]], "\x00") != "" {
		t.Error("a partition without an image is not empty")
	}
	out, err := exec.Command("/usr/sbin/sfdisk", "-d", path("disk")).Output()
	if err != nil || !strings.Contains(string(out), `name="boot", attrs="LegacyBIOSBootable"`) {
		t.Errorf("%s%v", out, err)
	}
	if _, err := lab.WriteDisk(soon(t), path("small"), []lab.Partition{{Name: "data", MiB: 4, From: path("ext4")}}); err == nil {
		t.Error("an image went into a partition that is smaller")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestFlashHoldsAnEnvironmentThatUBootBelieves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flash")
	if err := lab.Flash(path, map[string]string{"bootdelay": "-2", "bootcmd": "run x"}); err != nil {
		t.Fatal(err)
	}
	raw := read(t, path)
	if len(raw) != 64*lab.MiB {
		t.Fatalf("%d bytes", len(raw))
	}
	if want := "bootcmd=run x\x00bootdelay=-2\x00\x00"; raw[4:4+len(want)] != want {
		t.Errorf("%q", raw[4:60])
	}
	if binary.LittleEndian.Uint32([]byte(raw)) != crc32.ChecksumIEEE([]byte(raw[4:0x40000])) {
		t.Error("wrong checksum")
	}
	if err := lab.Flash(path, map[string]string{"x": strings.Repeat("y", 0x40000)}); err == nil {
		t.Error("too much fits")
	}
}

func TestAnInitramfsHoldsItsFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"bin/sh", "init", "a name"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, "tree", name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "tree", name), []byte(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := lab.Initramfs(soon(t), filepath.Join(dir, "cpio"), filepath.Join(dir, "tree")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cpio", "-t", "--quiet")
	cmd.Stdin = strings.NewReader(read(t, filepath.Join(dir, "cpio")))
	if out, err := cmd.Output(); err != nil || string(out) != ".\na name\nbin\nbin/sh\ninit\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestWhatIsNotHereIsNamedOnce(t *testing.T) {
	got := lab.Absent([]lab.Tool{{"sh", "dash"}, {"no-such-program", "p"}, {"/etc/passwd", "base-passwd"}, {"/no/such/file", "q"}, {"nor-this", "p"}})
	if strings.Join(got, " ") != "p q" {
		t.Errorf("Absent = %q", got)
	}
}

func TestATallyFindsWhatIsMissing(t *testing.T) {
	type record struct {
		session string
		seq     uint64
	}
	for _, tt := range []struct {
		name    string
		records []record
		count   int
		missing string
	}{
		{"nothing", nil, 0, ""},
		{"all, in any order, one twice", []record{{"a", 3}, {"a", 5}, {"a", 4}, {"a", 4}}, 3, ""},
		{"one of three", []record{{"a", 3}, {"a", 5}}, 2, "session a: 1 of records 3 to 5 are missing"},
		{"in one of two sessions", []record{{"b", 1}, {"a", 2}, {"b", 4}, {"b", 2}, {"a", 3}}, 5, "session b: 1 of records 1 to 4 are missing"},
	} {
		var tally lab.Tally
		fresh := 0
		for _, r := range tt.records {
			if tally.Add(r.session, r.seq) {
				fresh++
			}
		}
		said := ""
		if err := tally.Missing(); err != nil {
			said = err.Error()
		}
		if tally.Count() != tt.count || fresh != tt.count || said != tt.missing {
			t.Errorf("%s: %d records, %d new, %q; want %d, %q", tt.name, tally.Count(), fresh, said, tt.count, tt.missing)
		}
	}
}
