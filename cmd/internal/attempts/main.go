//go:build linux

// Command attempts tries to gain power over a machine, in more than a hundred ways: as root, to see that each works, and
// then inside a unit's sandbox, where none may. packaging/test-power.sh runs it in a Debian root with systemd.
//
//	attempts prepare               as root: lays out what some attempts want
//	attempts try                   makes each attempt in a process of its own; one line each: name, tab, "gained" or why not
//	attempts compare ROOT UNIT…    reads what try printed; exit code 1 when a unit gained anything, or too few work as root
//
// An attempt opens and does not write, sets what is set already, or takes back what it did. Some of root's leave a trace that ends
// with that system: a link and a property below /run/systemd, a process of root's with less of the processor. The machine's
// own clock is set to what it says, and accounting for processes ends. Those that cannot work on this kernel, whoever tries,
// are not counted.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// An attempt is one way to power. do returns nil when it was gained.
type attempt struct {
	name string
	do   func() error
}

// atLeast is how many attempts must work as root: fewer would be no list.
const atLeast = 100

// control is no attempt: it works wherever one can be made. Where it does not, that nothing was gained would mean nothing.
const control = "make an attempt at all"

// limit bounds one attempt. One that hangs has gained nothing.
const limit = 10 * time.Second

func main() {
	if filepath.Base(os.Args[0]) == borrowed {
		powers() // this file was started with a mark that lends root's power
		return
	}
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "attempts:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "prepare":
		return prepare()
	case len(args) == 1 && args[0] == "try":
		return try(out)
	case len(args) == 2 && args[0] == "one":
		return one(args[1])
	case len(args) >= 3 && args[0] == "compare":
		return compare(args[1], args[2:], out)
	}
	return errors.New("prepare, try or compare ROOT UNIT…")
}

// try makes each attempt in a child, because some change the process that makes them.
func try(out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, a := range append(attempts(), attempt{name: control}) {
		said := "gained"
		cmd := exec.Command(self, "one", a.name)
		cmd.WaitDelay = time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var why strings.Builder
		cmd.Stderr = &why
		timer := time.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		if err := cmd.Run(); err != nil {
			said = strings.Join(strings.Fields(strings.TrimPrefix(why.String(), "attempts: ")+" "+err.Error()), " ")
		}
		timer.Stop()
		if _, err := fmt.Fprintf(out, "%s\t%.200s\n", a.name, said); err != nil {
			return err
		}
	}
	return nil
}

func one(name string) error {
	if name == control {
		return nil
	}
	for _, a := range attempts() {
		if a.name == name {
			return a.do()
		}
	}
	return fmt.Errorf("no attempt %q", name)
}

// compare prints what worked, and is an error when a unit gained anything or when it did not try all.
func compare(root string, units []string, out io.Writer) error {
	asRoot, err := readTries(root)
	if err != nil {
		return err
	}
	delete(asRoot, control)
	works := 0
	for _, name := range slices.Sorted(maps.Keys(asRoot)) {
		if asRoot[name] == "gained" {
			works++
		} else {
			fmt.Fprintf(out, "not counted, for root cannot either: %s: %s\n", name, asRoot[name])
		}
	}
	var faults []error
	if works < atLeast {
		faults = append(faults, fmt.Errorf("%d attempts work as root, want %d", works, atLeast))
	}
	fmt.Fprintf(out, "%-40s %d of %d\n", "gained as root", works, len(asRoot))
	for _, unit := range units {
		tried, err := readTries(unit)
		if err != nil {
			return err
		}
		if tried[control] != "gained" {
			faults = append(faults, fmt.Errorf("%s: none could be made there: %s", filepath.Base(unit), tried[control]))
		}
		gained := 0
		for name, said := range asRoot {
			switch {
			case tried[name] == "":
				faults = append(faults, fmt.Errorf("%s: %s was not tried", filepath.Base(unit), name))
			case tried[name] == "gained":
				gained++
				faults = append(faults, fmt.Errorf("%s gained: %s (root: %s)", filepath.Base(unit), name, said))
			}
		}
		fmt.Fprintf(out, "%-40s %d of %d\n", "gained in "+filepath.Base(unit), gained, works)
	}
	return errors.Join(faults...)
}

func readTries(name string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tries := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if what, said, ok := strings.Cut(lines.Text(), "\t"); ok {
			tries[what] = said
		}
	}
	if want := len(attempts()) + 1; len(tries) != want { // and the control
		return nil, fmt.Errorf("%s: %d attempts, want %d", name, len(tries), want)
	}
	return tries, nil
}
