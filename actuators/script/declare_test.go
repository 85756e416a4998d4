package script_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/actuators"
	"holdfast/actuators/script"
	"holdfast/board/boardtest"
)

const whole = `help = "Pump for a while."
timeout = "10s"
memory = "32MiB"
tasks = 8
cpu = 25
file = "1MiB"
output = "4KiB"
network = false
devices = false
user = ""
write = ["/var/lib/pump"]
capabilities = ["CAP_KILL", "CAP_SYS_TIME"]

[[arg]]
name = "mode"
kind = "text"
choices = ["fast", "slow"]

[[arg]]
name = "name"
kind = "text"
pattern = "[a-z]+|"
bytes = 8

[[arg]]
name = "seconds"
kind = "number"
min = -1
max = 60
whole = true

[[arg]]
name = "dry"
kind = "truth"
optional = true
`

func TestArgumentsAreWhatTheDeclarationSays(t *testing.T) {
	s, _ := installed(t, script.Options{}, map[string]string{"x": `printf '%s|' "$@"`, "x.toml": whole, "bare": `echo $#`})
	for _, tt := range []struct {
		args []string
		why  string // empty: it is run
	}{
		{[]string{"fast", "pump", "60", "true"}, ""},
		{[]string{"slow", "", "-1"}, ""},
		{[]string{"fast", "pump"}, "seconds is missing"},
		{nil, "mode is missing"},
		{[]string{"Fast", "pump", "1"}, "mode: not among the choices"},
		{[]string{"fast", "pump\n", "1"}, "name: not of the declared pattern"},
		{[]string{"fast", "$(id)", "1"}, "name: not of the declared pattern"},
		{[]string{"fast", "pumppumpp", "1"}, "name: 9 bytes, at most 8"},
		{[]string{"fast", "pump", "61"}, "seconds: out of range"},
		{[]string{"fast", "pump", "1.5"}, "seconds: not a whole number"},
		{[]string{"fast", "pump", "1e1"}, "seconds: not a whole number"},
		{[]string{"fast", "pump", "NaN"}, "seconds: not a number"},
		{[]string{"fast", "pump", "0x10"}, "seconds: not a number"},
		{[]string{"fast", "pump", "1 "}, "seconds: not a number"},
		{[]string{"fast", "pump", "1", "yes"}, "dry: neither true nor false"},
		{[]string{"fast", "pump", "1", "true", "more"}, "5 arguments, and 4 are declared"},
	} {
		r, err := run(t, s, "x", tt.args...)
		if tt.why == "" {
			if want := strings.Join(tt.args, "|") + "|"; err != nil || r["output"] != want {
				t.Errorf("%q: %v, %v", tt.args, r, err)
			}
			continue
		}
		if !errors.Is(err, actuators.ErrInvalid) || !strings.Contains(err.Error(), tt.why) || r != nil {
			t.Errorf("%q: %v, %v, want %s", tt.args, r, err, tt.why)
		}
	}
	if _, err := run(t, s, "bare", "x"); err == nil || !strings.Contains(err.Error(), "1 arguments, and 0 are declared") {
		t.Errorf("an argument without a declaration: %v", err)
	}
	if r, err := run(t, s, "bare"); err != nil || r["output"] != "0\n" {
		t.Errorf("no argument, no declaration: %v, %v", r, err)
	}
}

func TestAScriptWithABadDeclarationIsNotOffered(t *testing.T) {
	for _, tt := range []struct{ text, why string }{
		{"netwrok = true", `line 1, column 1: no such key "netwrok"`},
		{"help = \"x\"\ntasks = \"many\"", "line 2, column 9: "},
		{"timeout = \"0s\"", "is not a duration"},
		{"timeout = \"1ms\"", "timeout, in seconds: not between"},
		{"timeout = \"2h\"", "timeout, in seconds: not between"},
		{"memory = \"1KiB\"", "memory: not between"},
		{"memory = \"12\"", "is not a size"},
		{"memory = \"-1MiB\"", "is not a size"},
		{"tasks = 0", "tasks: not between"},
		{"cpu = 100000", "cpu: not between"},
		{"output = \"1MiB\"", "output: not between"},
		{"user = \"a b\"", "user: "},
		{"write = [\"/\"]", "write: "},
		{"write = [\"../x\"]", "write: "},
		{"write = [\"/a/../etc\"]", "write: "},
		{"capabilities = [\"cap_kill\"]", "capabilities: no such"},
		{"[[arg]]\nname = \"x\"", "arg 1: kind"},
		{"[[arg]]\nkind = \"text\"", "arg 1: name"},
		{"[[arg]]\nname = \"x\"\nkind = \"number\"\nchoices = [\"1\"]", "arg 1: a key that is not for kind number"},
		{"[[arg]]\nname = \"x\"\nkind = \"number\"\nmin = 2\nmax = 1", "arg 1: min and max"},
		{"[[arg]]\nname = \"x\"\nkind = \"number\"\nmin = nan", "arg 1: min and max"},
		{"[[arg]]\nname = \"x\"\nkind = \"text\"\npattern = \"a)|(b\"", "arg 1: pattern"},
		{"[[arg]]\nname = \"x\"\nkind = \"text\"\noptional = true\n[[arg]]\nname = \"y\"\nkind = \"text\"", "arg 2: one that is not optional"},
		{strings.Repeat("[[arg]]\nname = \"x\"\nkind = \"text\"\n", 17), "arg: their number"},
		{strings.Repeat("#", 8<<10+1), "longer than 8192 bytes"},
		{"\xff", "line 1"},
	} {
		_, dir := installed(t, script.Options{}, map[string]string{"bad": "exit 0", "good": "exit 0"})
		write(t, filepath.Join(dir, "bad.toml"), tt.text, 0o644)
		v, faults, err := script.Verb(script.Options{Dir: dir, Owner: os.Getuid(), Clock: boardtest.Clock{}})
		if err != nil || len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "script bad is not offered: ") || !strings.Contains(faults[0].Error(), tt.why) {
			t.Errorf("%.40q: faults %v, %v", tt.text, faults, err)
		}
		if got := v.Params[0].Choices; len(got) != 1 || got[0] != "good" {
			t.Errorf("%.40q: offered are %q", tt.text, got)
		}
		if _, err := v.Do(t.Context(), actuators.Args{"name": "bad"}); err == nil {
			t.Errorf("%.40q: it was run", tt.text)
		}
	}
}

func TestADeclarationOthersCouldChangeIsNotRead(t *testing.T) {
	for what, spoil := range map[string]func(name string) error{
		"writable by all": func(name string) error { return os.Chmod(name, 0o666) },
		"a link": func(name string) error {
			return errors.Join(os.Rename(name, name+"2"), os.Symlink(name+"2", name))
		},
		"a directory": func(name string) error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o755)) },
	} {
		s, dir := installed(t, script.Options{}, map[string]string{"x": "exit 0", "x.toml": "tasks = 8", "other": "exit 0"})
		if err := spoil(filepath.Join(dir, "x.toml")); err != nil {
			t.Fatal(err)
		}
		if r, err := run(t, s, "x"); err == nil {
			t.Errorf("%s: it was run: %v", what, r)
		}
		if _, err := run(t, s, "other"); err != nil {
			t.Errorf("%s: another script: %v", what, err)
		}
	}
}

func TestLimitsOfTheDeclarationHold(t *testing.T) {
	s, dir := installed(t, script.Options{}, map[string]string{
		"x": `head -c 8192 /dev/zero >"$0.out"; printf '%2000s' end`, "x.toml": "file = \"4KiB\"\noutput = \"1KiB\"\ntimeout = \"5s\"",
	})
	r, err := run(t, s, "x")
	info, e := os.Stat(filepath.Join(dir, "x.out"))
	if out, _ := r["output"].(string); err != nil || len(out) != 1024 || r["cut"] != true || e != nil || info.Size() != 4096 {
		t.Errorf("%d bytes of output, %v, %v", len(out), err, e)
	}
}

func FuzzDeclaration(f *testing.F) {
	f.Add(whole, "fast")
	f.Add(five, "")
	f.Add("", "x")
	f.Fuzz(func(t *testing.T, text, arg string) {
		check, err := script.Declared([]byte(text))
		if err != nil {
			return
		}
		if err := check([]string{arg}); err == nil && (len(arg) > 4096 || strings.ContainsRune(arg, 0)) {
			t.Errorf("%q was taken", arg)
		}
	})
}
