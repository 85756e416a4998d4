package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A stanza is what a tutorial has to be done, and the lines it promises, in their order. … stands for anything.
type stanza struct{ script, promised string }

var fence = regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$")

func stanzas(page string) (all []stanza) {
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		if m[1] == "sh" {
			all = append(all, stanza{script: m[2]})
		} else if len(all) > 0 {
			all[len(all)-1].promised = m[2]
		}
	}
	return all
}

// unkept is the first promised line that is not in what was said after the one before it.
func unkept(promised, said string) string {
	lines := strings.Split(said, "\n")
	for _, want := range strings.Split(strings.TrimSuffix(promised, "\n"), "\n") {
		pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*") + "$")
		at := 0
		for at < len(lines) && !pattern.MatchString(strings.TrimRight(lines[at], " ")) && !pattern.MatchString(lines[at]) {
			at++
		}
		if at == len(lines) {
			return want
		}
		lines = lines[at+1:]
	}
	return ""
}

// complaint is what a program of ours complains of that the page does not show.
var complaint = regexp.MustCompile(`(?m)^(sh|holdfast|holdfastctl): .*$`)

// The tutorial on updates is true: its commands are run one after the other, and say what it shows.
func TestTheTutorialOnUpdatesIsTrue(t *testing.T) {
	t.Parallel() // it mostly waits
	page, err := os.ReadFile("../../docs/tutorial-updates.md")
	if err != nil {
		t.Fatal(err)
	}
	bin, dir, home := t.TempDir(), t.TempDir(), t.TempDir()
	for _, program := range []string{"holdfast", "holdfastctl"} {
		build := exec.Command("go", "build", "-o", filepath.Join(bin, program), "../"+program)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	text := string(page)
	for _, port := range []string{"1883", "8080"} { // others may have them here
		text = strings.ReplaceAll(text, "127.0.0.1:"+port, freeAddress(t))
	}
	all := stanzas(text)
	if len(all) < 10 {
		t.Fatalf("%d stanzas: the pattern is wrong", len(all))
	}
	var script strings.Builder
	for i, s := range all {
		fmt.Fprintf(&script, "echo '@@ %d'\n%s", i, s.script)
	}
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "sh", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what it leaves in the background ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	if err := cmd.Wait(); err != nil {
		t.Errorf("the tutorial ended with %v", err)
	}
	said := strings.Split(out.String(), "@@ ")[1:]
	for i, s := range all {
		if i >= len(said) {
			t.Fatalf("it ended before\n%s", s.script)
		}
		if line := unkept(s.promised, said[i]); line != "" {
			t.Errorf("not said, or not at that place: %s\n%s\nsaid:\n%s", line, s.script, said[i])
		}
		for _, line := range complaint.FindAllString(said[i], -1) {
			if !slices.ContainsFunc(strings.Split(s.promised, "\n"), func(shown string) bool { return shown != "" && unkept(shown, line) == "" }) {
				t.Errorf("not in the page: %s", line)
			}
		}
	}
	if t.Failed() {
		for _, name := range []string{"board.log", "hub.log", "web.log"} {
			log, _ := os.ReadFile(filepath.Join(dir, name))
			t.Logf("%s:\n%s", name, log)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestAPromisedLineHasToBeSaidInItsPlace(t *testing.T) {
	const said = "one 1\ntwo  \nthree 3 3\n"
	for promised, want := range map[string]string{
		"one 1\n": "", "one …\nthree…3\n": "", "two\n": "", "three…\none 1\n": "one 1", "one\n": "one", "four\n": "four", "t.o\n": "t.o",
	} {
		if got := unkept(promised, said); got != want {
			t.Errorf("%q: unkept %q, want %q", promised, got, want)
		}
	}
}
