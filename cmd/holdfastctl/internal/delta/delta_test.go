package delta_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/delta"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"holdfastctl": func() { os.Exit(run()) }})
}

// run is the root command as far as delta needs one.
func run() int {
	root := &cobra.Command{Use: "holdfastctl", SilenceErrors: true, SilenceUsage: true}
	root.PersistentFlags().Bool("json", false, "")
	root.AddCommand(delta.Command())
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "holdfastctl:", err)
	var failure *delta.Error
	if !errors.As(err, &failure) {
		return 2
	}
	for _, h := range failure.Hints() {
		fmt.Fprintln(os.Stderr, "hint:", h)
	}
	return failure.ExitCode()
}

func TestScripts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var text []byte
	for len(text) < 300_000 {
		text = fmt.Appendf(text, "%x kelp\n", rnd.Uint64())
	}
	neu := slices.Concat([]byte("a new beginning\n"), text[:200_000], make([]byte, 50_000), text[210_000:])
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every command of a script takes a second more under -race
			for name, b := range map[string][]byte{"old": text, "new": neu, "other": neu[1:], "empty": nil} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), b, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if tool, ok := strings.CutPrefix(name, "has:"); ok {
				_, err := exec.LookPath(tool)
				return err == nil, nil
			}
			if name == "cgo" {
				return cgo, nil
			}
			return false, fmt.Errorf("no condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				got := "0"
				if err := ts.Exec(args[1], args[2:]...); err != nil {
					got = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if got != args[0] {
					ts.Fatalf("exit code %s, want %s", got, args[0])
				}
			},
			"flip": func(ts *testscript.TestScript, _ bool, args []string) { // one bit near the end
				b := []byte(ts.ReadFile(args[0]))
				b[len(b)-5] ^= 4
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
			},
		},
	})
}
