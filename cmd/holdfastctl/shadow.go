package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/args"
	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/shadow"
)

func newShadow(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shadow",
		Short: "Read and set the desired state of a device",
		Long: `A device has two documents at the broker: what is desired of it, which operators write, and what it reports, which the
device writes. The desired document has a version that counts up; the device answers each, and names what it refused.`,
		Example: "  holdfastctl shadow set gate-7 cpu=70 labels.site=north\n  holdfastctl shadow diff gate-7",
	}
	cmd.AddCommand(newShadowGet(c), newShadowSet(c), newShadowDiff(c), newShadowEdit(c))
	return cmd
}

// withTwin connects, reads both documents and hands them to f.
func withTwin(cmd *cobra.Command, c *connection, device string, f func(ctx context.Context, t *shadow.Twin) error) error {
	if err := deviceArg(device); err != nil {
		return err
	}
	mq, err := c.dial(cmd)
	if err != nil {
		return err
	}
	defer mq.Close()
	t, err := shadow.Read(cmd.Context(), mq, device)
	if err != nil {
		return fmt.Errorf("shadow of %s: %w", device, err)
	}
	if err := f(cmd.Context(), t); err != nil {
		return fmt.Errorf("shadow of %s: %w", device, err)
	}
	return nil
}

var errNothing = errors.New("the broker holds no document")

func newShadowGet(c *connection) *cobra.Command {
	var only string
	cmd := &cobra.Command{
		Use: "get DEVICE", Short: "Print the documents", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeDevices(1),
		Example: "  holdfastctl shadow get gate-7\n  holdfastctl shadow get gate-7 --only desired > gate-7.json",
	}
	cmd.Flags().StringVar(&only, "only", "", "desired or reported: that state alone")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		if only != "" && only != "desired" && only != "reported" {
			return usage("--only %q: wants desired or reported", only)
		}
		return withTwin(cmd, c, args[0], func(_ context.Context, t *shadow.Twin) error {
			var v any
			switch {
			case only == "desired" && t.HasDesired:
				v = t.Desired.State
			case only == "reported" && t.HasReported:
				v = t.Reported.State
			case only == "" && (t.HasDesired || t.HasReported):
				both := map[string]any{}
				if t.HasDesired {
					both["desired"] = t.Desired
				}
				if t.HasReported {
					both["reported"] = t.Reported
				}
				v = both
			default:
				return errNothing
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), v)
			}
			return printIndented(cmd.OutOrStdout(), v)
		})
	})
	return cmd
}

// printIndented is for people: JSON that a terminal cannot be harmed by, because encoding/json escapes control
// characters, and C1 controls and the like are escaped here.
func printIndented(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if _, err := fmt.Fprintln(w, message.Clean(line, 1<<20)); err != nil {
			return err
		}
	}
	return nil
}

func newShadowSet(c *connection) *cobra.Command {
	var replace bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "set DEVICE {key=value... | FILE.json}", Short: "Change what is desired", Args: cobra.MinimumNArgs(2),
		Long: `set puts values over the desired state, writes it as the next version, and waits until the device has answered it.
The dots of a key separate levels; key:=null deletes; key:=JSON gives any value. FILE.json (- is standard input) holds
the same as an object.

Exit codes: 0 applied, 1 refused or overwritten by somebody else, 3 the device has not answered; then it stays desired.`,
		Example:           "  holdfastctl shadow set gate-7 cpu=70 labels.site=north\n  holdfastctl shadow set gate-7 labels.site:=null\n  holdfastctl shadow set gate-7 gate-7.json --replace",
		ValidArgsFunction: c.completeDevices(1),
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "desire this and nothing else, instead of merging")
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long the device may take; 0 does not wait")
	cmd.RunE = deed(func(cmd *cobra.Command, words []string) error {
		change, err := changeArg(cmd.InOrStdin(), words[1:])
		if err != nil {
			return err
		}
		return withTwin(cmd, c, words[0], func(ctx context.Context, t *shadow.Twin) error {
			err := t.Write(ctx, replace, func(state map[string]any) map[string]any {
				if replace {
					return shadow.Merge(nil, change)
				}
				return shadow.Merge(state, change)
			})
			if err != nil {
				return err
			}
			return settle(ctx, cmd, c, words[0], t, wait)
		})
	})
	return cmd
}

func changeArg(in io.Reader, words []string) (map[string]any, error) {
	if len(words) == 1 && !strings.Contains(words[0], "=") {
		var b []byte
		var err error
		if words[0] == "-" {
			b, err = io.ReadAll(io.LimitReader(in, 1<<20))
		} else {
			b, err = os.ReadFile(words[0])
		}
		if err != nil {
			return nil, usage("desired state: %w", err)
		}
		m, err := shadow.ParseState(b)
		if err != nil {
			return nil, usage("desired state: %s: %w", words[0], err)
		}
		return m, nil
	}
	list, err := args.Parse(words)
	if err != nil {
		return nil, usage("desired state: %w", err)
	}
	m, err := args.Tree(list)
	if err != nil {
		return nil, usage("desired state: %w", err)
	}
	return m, nil
}

// settle waits for the device's answer to what was just written, and shows it.
func settle(ctx context.Context, cmd *cobra.Command, c *connection, device string, t *shadow.Twin, wait time.Duration) error {
	version := t.Desired.Version
	if wait <= 0 {
		return c.outcome(cmd, device, version, "written", nil)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := t.Await(ctx); errors.Is(err, shadow.ErrSilent) {
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		if err := c.outcome(cmd, device, version, "written", nil); err != nil {
			return err
		}
		return &failure{code: exitSilent, err: fmt.Errorf("version %d: %w within %s", version, err, wait),
			hints: []string{"it stays desired: an absent device takes it when it comes back; `holdfastctl watch --once " + device + "` shows whether it is online"}}
	} else if err != nil {
		return err
	}
	if len(t.Reported.Refused) == 0 {
		return c.outcome(cmd, device, version, "applied", nil)
	}
	if err := c.outcome(cmd, device, version, "refused", t.Reported.Refused); err != nil {
		return err
	}
	return fmt.Errorf("version %d: the device refused %s", version, refusedPaths(t.Reported.Refused))
}

func refusedPaths(refused map[string]string) string {
	var list []string
	for _, p := range slices.Sorted(maps.Keys(refused)) {
		list = append(list, message.Clean(pathName(p), 80))
	}
	return strings.Join(list, ", ")
}

func pathName(p string) string {
	if p == "" {
		return "all of it"
	}
	return p
}

func (c *connection) outcome(cmd *cobra.Command, device string, version int64, state string, refused map[string]string) error {
	if c.json {
		return printJSON(cmd.OutOrStdout(), struct {
			Device  string            `json:"device"`
			Version int64             `json:"version"`
			Outcome string            `json:"outcome"`
			Refused map[string]string `json:"refused,omitempty"`
		}{device, version, state, refused})
	}
	if state == "refused" {
		for _, p := range slices.Sorted(maps.Keys(refused)) {
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "refused  %s: %s\n", message.Clean(pathName(p), 80), message.Clean(refused[p], 300)); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  version %d\n", state, version)
	return err
}

func newShadowDiff(c *connection) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "diff DEVICE", Short: "Show where the device differs from what is desired", Args: cobra.ExactArgs(1),
		Long:              "diff prints the paths where what the device reports is not what is desired. Exit code 1 if there are any.",
		Example:           "  holdfastctl shadow diff gate-7\n  holdfastctl shadow diff gate-7 --all --json",
		ValidArgsFunction: c.completeDevices(1),
	}
	cmd.Flags().BoolVar(&all, "all", false, "also what is only reported")
	cmd.RunE = deed(func(cmd *cobra.Command, words []string) error {
		return withTwin(cmd, c, words[0], func(_ context.Context, t *shadow.Twin) error {
			if !t.HasDesired && !t.HasReported {
				return errNothing
			}
			list := shadow.Diff(t.Desired, t.Reported, all)
			for _, d := range list {
				if err := showDifference(cmd.OutOrStdout(), c.json, d); err != nil {
					return err
				}
			}
			if len(list) > 0 {
				return fmt.Errorf("%d differences", len(list))
			}
			return nil
		})
	})
	return cmd
}

func showDifference(w io.Writer, asJSON bool, d shadow.Difference) error {
	if asJSON {
		return printJSON(w, d)
	}
	side := func(v any, has bool) string {
		if !has {
			return "nothing"
		}
		b, _ := json.Marshal(v) // it came from JSON
		return message.Clean(string(b), 200)
	}
	text := fmt.Sprintf("%s: desired %s, reported %s", message.Clean(d.Path, 100), side(d.Desired, d.HasDesired), side(d.Reported, d.HasReported))
	if d.Refused != "" {
		text += ": refused: " + message.Clean(d.Refused, 300)
	}
	_, err := fmt.Fprintln(w, text)
	return err
}

func newShadowEdit(c *connection) *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "edit DEVICE", Short: "Change what is desired in an editor", Args: cobra.ExactArgs(1),
		Long:              "edit opens the desired state in $VISUAL or $EDITOR and writes what comes back as the next version.",
		Example:           "  EDITOR=nano holdfastctl shadow edit gate-7",
		ValidArgsFunction: c.completeDevices(1),
	}
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long the device may take; 0 does not wait")
	cmd.RunE = deed(func(cmd *cobra.Command, words []string) error {
		device := words[0]
		var before shadow.Document
		err := withTwin(cmd, c, device, func(_ context.Context, t *shadow.Twin) error {
			before = t.Desired
			return nil
		})
		if err != nil {
			return err
		}
		state, err := edit(cmd, device, before.State)
		if err != nil {
			return err
		}
		if shadow.Equal(shadow.Merge(before.State, nil), state) {
			fmt.Fprintln(cmd.ErrOrStderr(), "nothing changed")
			return nil
		}
		// A new connection: the editor may have been open for longer than one lasts.
		return withTwin(cmd, c, device, func(ctx context.Context, t *shadow.Twin) error {
			if t.Desired.Epoch != before.Epoch || t.Desired.Version != before.Version {
				return fmt.Errorf("version %d is there by now: %w", t.Desired.Version, shadow.ErrChanged)
			}
			if err := t.Write(ctx, true, func(map[string]any) map[string]any { return state }); err != nil {
				return err
			}
			return settle(ctx, cmd, c, device, t, wait)
		})
	})
	return cmd
}

// edit returns the state as it comes out of the editor. When it is not JSON any more, the file is left for a second
// try.
func edit(cmd *cobra.Command, device string, state map[string]any) (map[string]any, error) {
	editor := firstOf(os.Getenv("VISUAL"), os.Getenv("EDITOR"), map[bool]string{true: "notepad", false: "vi"}[runtime.GOOS == "windows"])
	if state == nil {
		state = map[string]any{}
	}
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "holdfast-"+device+"-*.json")
	if err != nil {
		return nil, err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	words := append(strings.Fields(editor), f.Name())
	run := exec.CommandContext(cmd.Context(), words[0], words[1:]...)
	run.Stdin, run.Stdout, run.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := run.Run(); err != nil {
		os.Remove(f.Name())
		return nil, hinted(fmt.Errorf("editor %s: %w", words[0], err), "EDITOR names the program")
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, err
	}
	after, err := shadow.ParseState(bytes.TrimSpace(b))
	if err != nil {
		return nil, hinted(fmt.Errorf("edited state: %w", err), "what you wrote is in "+f.Name()+"; mend it, then: holdfastctl shadow set "+device+" "+f.Name()+" --replace")
	}
	return after, os.Remove(f.Name())
}

func firstOf(list ...string) string {
	for _, s := range list {
		if strings.TrimSpace(s) != "" {
			return s
		}
	}
	return ""
}
