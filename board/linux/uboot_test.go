package linux_test

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/linux"
)

// copyBytes is the size of each copy of the environment.
const copyBytes = 4096

// A bench is a board with U-Boot: its environment is a file, which the real fw_printenv and fw_setenv read and write, and
// its boot script is played by start.
type bench struct {
	t       *testing.T
	dir     string
	env     string
	options linux.UBootOptions
	start   func(*bench) error
	cuts    int
}

// newBench makes a board whose environment holds the bytes, or nothing yet.
func newBench(t *testing.T, convention string, env []byte) *bench {
	t.Helper()
	for _, tool := range []string{"/usr/bin/fw_setenv", "/usr/bin/fw_printenv"} {
		if _, err := os.Stat(tool); err != nil {
			t.Skipf("%s is not here: install libubootenv-tool", tool)
		}
	}
	dir := inMemory(t)
	b := &bench{t: t, dir: dir, env: filepath.Join(dir, "env"), start: (*bench).startRAUC}
	if env == nil {
		env = make([]byte, 2*copyBytes)
	}
	write(t, dir, "env", string(env))
	write(t, dir, "fw_env.config", fmt.Sprintf("# two copies\n%s 0x0 %#x\n%s %#x %#x\n", b.env, copyBytes, b.env, copyBytes, copyBytes))
	write(t, dir, "initial-env", "")
	write(t, dir, "proc/self/mountinfo", root0)
	write(t, dir, "proc/cmdline", "")
	b.options = linux.UBootOptions{
		Layout:     linux.Layout{Root: dir, Parts: paths("/dev/none-a", "/dev/none-b")},
		Convention: convention, Config: filepath.Join(dir, "fw_env.config"), Setenv: "/usr/bin/fw_setenv",
	}
	if convention == "mender" {
		b.start = (*bench).startMender
		b.options.Layout.Parts = paths(nodes(t))
	}
	return b
}

// inMemory returns a directory where an fsync is for nothing, if there is one: the tools do many.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "uboot-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// script writes a program. Nothing is started meanwhile: a child would have the file open for writing until it is another
// program, and the kernel runs no file that somebody may write (ETXTBSY).
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	write(t, dir, name, "#!/bin/sh\n"+text+"\n")
	if err := os.Chmod(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) boot() *linux.UBoot {
	b.t.Helper()
	u, err := linux.NewUBoot(b.options)
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// get reads the environment as U-Boot does at its start: where no copy is valid it is empty.
func (b *bench) get() map[string]string {
	out, err := exec.Command("/usr/bin/fw_printenv", "-c", b.options.Config, "-f", b.dir+"/initial-env").Output()
	if err != nil {
		b.t.Fatal(err)
	}
	v := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		v[name] = value
	}
	return v
}

// save is U-Boot's saveenv.
func (b *bench) save(v map[string]string) {
	var lines strings.Builder
	for name, value := range v {
		fmt.Fprintf(&lines, "%s=%s\n", name, value)
	}
	cmd := exec.Command(b.options.Setenv, "-c", b.options.Config, "-f", b.dir+"/initial-env", "-s", "-")
	cmd.Stdin = strings.NewReader(lines.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("saveenv: %s%v", out, err)
	}
}

// padding moves what follows it into the second sector of a copy, so that a write changes two sectors.
var padding = strings.Repeat("x", 600)

// startRAUC is RAUC's example script for U-Boot: the first slot of BOOT_ORDER that has attempts left is taken, with one
// less; when none has, all get three and the machine resets.
func (b *bench) startRAUC() error {
	for range 8 {
		v := b.get()
		for name, value := range map[string]string{"AAAA": padding, "BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"} {
			if v[name] == "" {
				v[name] = value
			}
		}
		for _, slot := range strings.Fields(v["BOOT_ORDER"]) {
			n, err := strconv.ParseUint(v["BOOT_"+slot+"_LEFT"], 16, 32)
			if err != nil {
				return err
			}
			if n > 0 {
				v["BOOT_"+slot+"_LEFT"] = strconv.FormatUint(n-1, 16)
				b.save(v)
				write(b.t, b.dir, "proc/cmdline", "console=ttyS0 root=/dev/none rauc.slot="+slot+"\n")
				return nil
			}
		}
		v["BOOT_A_LEFT"], v["BOOT_B_LEFT"] = "3", "3"
		b.save(v)
	}
	return fmt.Errorf("no slot boots: %v", b.get())
}

// startMender is U-Boot's boot counter and Mender's altbootcmd.
func (b *bench) startMender() error {
	v := b.get()
	for name, value := range map[string]string{"aaaa": padding, "bootlimit": "1", "bootcount": "0", "upgrade_available": "0",
		"mender_boot_part": "2", "mender_boot_part_hex": "2"} {
		if v[name] == "" {
			v[name] = value
		}
	}
	if v["upgrade_available"] == "1" {
		count, err := strconv.Atoi(v["bootcount"])
		if err != nil {
			return err
		}
		v["bootcount"] = strconv.Itoa(count + 1)
		b.save(v)
		if count+1 > 1 { // altbootcmd
			other := map[string]string{"2": "3", "3": "2"}[v["mender_boot_part"]]
			v["mender_boot_part"], v["mender_boot_part_hex"], v["upgrade_available"] = other, other, "0"
			b.save(v)
		}
	} else if v["mender_saveenv_canary"] == "" {
		v["mender_saveenv_canary"] = "1"
		b.save(v)
	}
	id := map[string]board.SlotID{"2": "a", "3": "b"}[v["mender_boot_part"]]
	root, ok := b.options.Layout.Parts["root"][id]
	if !ok || v["mender_boot_part"] != v["mender_boot_part_hex"] {
		return fmt.Errorf("no slot boots: %v", v)
	}
	write(b.t, b.dir, "proc/cmdline", "root="+root+" rootwait\n")
	return nil
}

// machine is the bench as the contract wants it.
func (b *bench) machine() *boardtest.Machine {
	if b.cuts > 0 { // after each write the whole environment is kept
		script(b.t, b.dir, "setenv", `/usr/bin/fw_setenv "$@" || exit; cat `+b.env+` >> `+b.dir+`/history`)
		b.options.Setenv = filepath.Join(b.dir, "setenv")
	}
	m := &boardtest.Machine{Boot: b.boot(), Restart: func() error { return b.start(b) }}
	m.Garble = func() { write(b.t, b.dir, "env", strings.Repeat("garbage ", 2*copyBytes/8)) }
	if b.cuts > 0 {
		m.Cuts = func(deed func()) iter.Seq[*boardtest.Machine] {
			return func(yield func(*boardtest.Machine) bool) {
				for _, env := range b.left(deed) {
					twin := newBench(b.t, b.options.Convention, env)
					if !yield(twin.machine()) {
						return
					}
				}
			}
		}
	}
	return m
}

// left does the deed and returns what a cut in it may leave of the environment: between two writes of fw_setenv, of the
// sectors that differ none, all, each alone, and the last torn.
func (b *bench) left(deed func()) [][]byte {
	before, err := os.ReadFile(b.env)
	if err != nil {
		b.t.Fatal(err)
	}
	write(b.t, b.dir, "history", "")
	deed()
	history, err := os.ReadFile(filepath.Join(b.dir, "history"))
	if err != nil {
		b.t.Fatal(err)
	}
	states := [][]byte{before}
	for ; len(history) > 0; history = history[2*copyBytes:] {
		after := history[:2*copyBytes]
		var last int
		for at := 0; at < len(after); at += 512 {
			if bytes.Equal(before[at:at+512], after[at:at+512]) {
				continue
			}
			one := bytes.Clone(before)
			copy(one[at:], after[at:at+512])
			states, last = append(states, one), at
		}
		torn := bytes.Clone(after)
		for i := last + 64 + 384*(len(states)%2); i < last+512; i++ {
			torn[i] = byte(rand.Uint32())
		}
		states, before = append(states, torn, after), after
	}
	return slices.CompactFunc(states, bytes.Equal)
}

func TestUBootKeepsTheContract(t *testing.T) {
	for _, convention := range []string{"rauc", "mender"} {
		t.Run(convention, func(t *testing.T) {
			t.Parallel()
			boardtest.TestBoot(t, func(t *testing.T) *boardtest.Machine {
				b := newBench(t, convention, nil)
				b.cuts = 1
				m := b.machine()
				if err := m.Restart(); err != nil {
					t.Fatal(err)
				}
				return m
			})
		})
	}
}

// started returns a bench that has booted slot a, with both copies written.
func started(t *testing.T, convention string) *bench {
	t.Helper()
	b := newBench(t, convention, nil)
	for range 2 {
		if err := b.start(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.boot().Arm("b"); err != nil {
		t.Fatal(err)
	}
	return b
}

func facts(t *testing.T, u *linux.UBoot) string {
	t.Helper()
	f, err := u.Facts()
	if err != nil {
		t.Fatal(err)
	}
	return string(f.Booted + f.Next)
}

func TestOneCopyOfTheEnvironmentIsEnough(t *testing.T) {
	for name, damage := range map[string]func(copied []byte){
		"torn":      func(c []byte) { copy(c[512:], bytes.Repeat([]byte{0xa5}, copyBytes-512)) },
		"zeroed":    func(c []byte) { clear(c) },
		"erased":    func(c []byte) { copy(c, bytes.Repeat([]byte{0xff}, copyBytes)) },
		"CRC wrong": func(c []byte) { c[0] ^= 1 },
	} {
		for i := range 2 {
			b := started(t, "rauc")
			raw, err := os.ReadFile(b.env)
			if err != nil {
				t.Fatal(err)
			}
			damage(raw[i*copyBytes : (i+1)*copyBytes])
			write(t, b.dir, "env", string(raw))
			// Which of the two held the Arm is not said; without it the slot is as it was.
			if got := facts(t, b.boot()); got != "ab" && got != "aa" {
				t.Errorf("copy %d %s: %s", i, name, got)
			}
			if err := b.boot().Arm("b"); err != nil {
				t.Errorf("copy %d %s: %v", i, name, err)
			}
			if err := b.start(b); err != nil {
				t.Fatal(err)
			}
			if got := facts(t, b.boot()); got != "ba" {
				t.Errorf("copy %d %s, armed and started: %s", i, name, got)
			}
		}
	}
}

func TestAnEnvironmentThatIsGoneIsAnErrorAndStaysAsItIs(t *testing.T) {
	b := started(t, "rauc")
	garbage := strings.Repeat("\x00garbage", 2*copyBytes/8)
	write(t, b.dir, "env", garbage)
	u := b.boot()
	_, err := u.Facts()
	for name, err := range map[string]error{"facts": err, "arm": u.Arm("b"), "disarm": u.Disarm(), "commit": u.Commit()} {
		if err == nil || !strings.Contains(err.Error(), "Cannot read") {
			t.Errorf("%s: %v, want what fw_printenv says", name, err)
		}
	}
	if raw, err := os.ReadFile(b.env); err != nil || string(raw) != garbage {
		t.Errorf("the environment was written: %v", err)
	}
	b.options.Config = filepath.Join(b.dir, "none")
	if _, err := b.boot().Facts(); err == nil {
		t.Error("facts without a configuration")
	}
}

func TestAKilledToolLeavesTheEnvironmentOfBeforeOrAfter(t *testing.T) {
	b := started(t, "rauc")
	calm := b.boot()
	rnd := rand.New(rand.NewPCG(1, 2))
	count := map[string]int{}
	for i := range 150 {
		// Facts and the deed share the limit: some are killed before they write, some after.
		b.options.Limit = time.Duration(rnd.IntN(6000)) * time.Microsecond
		before, deed, want := facts(t, calm), b.boot().Disarm, "aa"
		if i%2 == 1 {
			deed, want = func() error { return b.boot().Arm("b") }, "ab"
		}
		err := deed()
		after := facts(t, calm)
		if after != want && (after != before || err == nil) {
			t.Fatalf("%s became %s, %v, want %s", before, after, err, want)
		}
		count[fmt.Sprint(err == nil, after == want)]++
		if after != want {
			if i%2 == 1 {
				err = calm.Arm("b")
			} else {
				err = calm.Disarm()
			}
			if err != nil {
				t.Fatalf("once more: %v", err)
			}
		}
	}
	t.Logf("succeeded and changed: %d; killed and changed: %d; killed and as before: %d", count["true true"], count["false true"],
		count["false false"])
	if count["true true"] == 0 || count["false false"] == 0 {
		t.Errorf("%v: want some killed and some not", count)
	}
}

func TestOddToolsAreErrors(t *testing.T) {
	good := `echo "BOOT_ORDER=A B"; echo BOOT_A_LEFT=3; echo BOOT_B_LEFT=3`
	for _, tt := range []struct{ name, printenv, want string }{
		{"in order", good, ""},
		{"prints nothing", "exit 0", "nothing of"},
		{"prints a line more", good + "; echo PATH=/tmp", "PATH"},
		{"prints one twice", good + "; echo BOOT_A_LEFT=1", "once"},
		{"prints no end", "yes BOOT_A_LEFT=3", "more than it should"},
		{"complains without end", "yes >&2", "more than it should"},
		{"fails", "printf 'no such\\033[2J device\\n' >&2; exit 3", "exit status 3: no such [2J device"},
		{"is killed", "kill -9 $$", "killed"},
		{"hangs", "exec sleep 100", "has not ended"},
		{"leaves a child", good + "; sleep 100 & echo $! > child", "left a child"},
		{"forks and hangs", "sleep 100 & echo $! > child; sleep 100", "has not ended"},
		{"prints bytes", `printf 'BOOT_ORDER=A\377B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=3\n'`, "not a value"},
	} {
		b := newBench(t, "rauc", nil)
		write(t, b.dir, "proc/cmdline", "rauc.slot=A")
		script(t, b.dir, "printenv", "cd "+b.dir+"; "+tt.printenv)
		b.options.Printenv, b.options.Limit = filepath.Join(b.dir, "printenv"), 300*time.Millisecond
		begin := time.Now()
		f, err := b.boot().Facts()
		if tt.want == "" && tt.name == "in order" {
			if err != nil || f.Next != "a" {
				t.Errorf("%s: %+v, %v", tt.name, f, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || f != (board.BootFacts{}) {
			t.Errorf("%s: %+v, %v, want an error with %q", tt.name, f, err, tt.want)
		}
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("%s: took %v", tt.name, d)
		}
		if pid, err := os.ReadFile(filepath.Join(b.dir, "child")); err == nil && !gone(strings.TrimSpace(string(pid))) {
			t.Errorf("%s: its child lives on", tt.name)
		}
	}
}

// gone waits a moment for a process that was killed.
func gone(pid string) bool {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
	}
	return false
}

func TestToolsSeeNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("LD_PRELOAD", "")
	t.Setenv("HOLDFAST_SECRET", "x")
	b := newBench(t, "rauc", nil)
	write(t, b.dir, "proc/cmdline", "rauc.slot=A")
	script(t, b.dir, "printenv", `env > `+b.dir+`/seen; pwd >> `+b.dir+`/seen; echo "$@" >> `+b.dir+`/seen`)
	b.options.Printenv = filepath.Join(b.dir, "printenv")
	_, _ = b.boot().Facts() // it prints nothing
	seen, err := os.ReadFile(filepath.Join(b.dir, "seen"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(seen)), "\n")
	slices.Sort(lines)
	want := []string{"-c " + b.options.Config + " -f /dev/null/none BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT", "/", "LANG=C",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/"}
	if !slices.Equal(lines, want) {
		t.Errorf("the program saw %q, want %q", lines, want)
	}
}

func TestAToolThatWritesNothingIsFoundOut(t *testing.T) {
	b := started(t, "rauc")
	script(t, b.dir, "setenv", "cat > /dev/null")
	b.options.Setenv = filepath.Join(b.dir, "setenv")
	if err := b.boot().Disarm(); err == nil || !strings.Contains(err.Error(), "read back") {
		t.Errorf("Disarm = %v, want an error of what was read back", err)
	}
}

func TestNothingIsWrittenWhereNothingChanges(t *testing.T) {
	for _, convention := range []string{"rauc", "mender"} {
		b := started(t, convention)
		u := b.boot()
		if err := b.start(b); err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(b.env)
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(); err != nil {
			t.Fatal(err)
		}
		if after, err := os.ReadFile(b.env); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: a second Commit wrote the environment, %v", convention, err)
		}
	}
}

func TestAnEnvironmentOfOneCopyHasToBeAllowed(t *testing.T) {
	b := started(t, "rauc")
	one := fmt.Sprintf("%s/single 0 %#x\n", b.dir, copyBytes)
	write(t, b.dir, "fw_env.config", one)
	write(t, b.dir, "single", string(make([]byte, copyBytes)))
	cmd := exec.Command("/usr/bin/fw_setenv", "-c", b.options.Config, "-f", b.dir+"/initial-env", "-s", "-")
	cmd.Stdin = strings.NewReader("BOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=3\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s%v", out, err)
	}
	write(t, b.dir, "proc/cmdline", "rauc.slot=A")
	if err := b.boot().Arm("b"); err == nil || !strings.Contains(err.Error(), "one copy") {
		t.Errorf("Arm = %v, want an error", err)
	}
	if got := facts(t, b.boot()); got != "aa" {
		t.Errorf("facts %s, want aa", got)
	}
	b.options.OneCopy = true
	if err := b.boot().Arm("b"); err != nil || facts(t, b.boot()) != "ab" {
		t.Errorf("allowed: %v, %s", err, facts(t, b.boot()))
	}
}

func TestTheWatchdogIsAReason(t *testing.T) {
	b := started(t, "rauc")
	for status, want := range map[string]board.Reset{"32\n": board.ResetWatchdog, "0\n": "", "1\n": "", "0x28\n": board.ResetWatchdog, "x": ""} {
		write(t, b.dir, "sys/class/watchdog/watchdog0/bootstatus", status)
		if f, err := b.boot().Facts(); err != nil || f.Reset != want {
			t.Errorf("bootstatus %q: reset %q, %v, want %q", status, f.Reset, err, want)
		}
	}
}

func TestUBootOptionsAreChecked(t *testing.T) {
	good := linux.UBootOptions{Layout: linux.Layout{Parts: paths("/x", "/y")}, Convention: "rauc"}
	if _, err := linux.NewUBoot(good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*linux.UBootOptions){
		"no layout":         func(o *linux.UBootOptions) { o.Layout = linux.Layout{} },
		"no convention":     func(o *linux.UBootOptions) { o.Convention = "" },
		"too many attempts": func(o *linux.UBootOptions) { o.Attempts = 10 },
		"same partitions":   func(o *linux.UBootOptions) { o.Convention, o.Partitions = "mender", [2]int{2, 2} },
		"odd names":         func(o *linux.UBootOptions) { o.Layout.Names = map[board.SlotID]string{"a": "A B", "b": "C"} },
	} {
		o := good
		change(&o)
		if _, err := linux.NewUBoot(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzEnvConfig(f *testing.F) {
	f.Add("# comment\n/dev/mmcblk0 0x400000 0x4000\n/dev/mmcblk0 0x800000 0x4000\n")
	f.Add("/dev/ubi0:env 0x0 0x1f000 0x1f000\n")
	f.Add("/dev/mmcblk0 -0x20000 0x20000\n")
	f.Fuzz(func(t *testing.T, text string) {
		copies, err := linux.ParseEnvConfig(text)
		if (err == nil) != (len(copies) > 0) || len(copies) > 2 {
			t.Fatalf("%d copies, %v", len(copies), err)
		}
	})
}
