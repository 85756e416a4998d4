package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"golang.org/x/term"
	"holdfast/cmd/holdfastctl/internal/delta"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/hub"
	"holdfast/cmd/holdfastctl/internal/message"
)

// version is set by the linker; without it the module's version or revision is told.
var version string

// newRoot lists the commands, one file each.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfastctl",
		Short: "Operate devices that run Holdfast",
		Long: `holdfastctl is the operator's side of Holdfast. It talks to devices through any MQTT broker.

Where the broker is and who you are comes from flags, else from HOLDFAST_BROKER, HOLDFAST_CA, HOLDFAST_CERT,
HOLDFAST_KEY, HOLDFAST_USER and HOLDFAST_PASSWORD_FILE, else from the configuration file, whose keys are broker, ca,
cert, key, user and password_file.

Exit codes: 0 done, 1 the deed did not succeed, 2 wrong usage or configuration, 3 no answer in time.`,
		Example:       "  holdfastctl demo\n  holdfastctl hub\n  holdfastctl watch\n  holdfastctl shadow set gate-7 cpu=70",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	c := &connection{}
	c.flags(root)
	root.AddGroup(&cobra.Group{ID: "fleet", Title: "Devices:"}, &cobra.Group{ID: "site", Title: "Broker and certificates:"},
		&cobra.Group{ID: "image", Title: "Releases and images:"}, &cobra.Group{ID: "rules", Title: "Rules, models and playbooks:"})
	for _, g := range []struct {
		id   string
		cmds []*cobra.Command
	}{
		{"fleet", []*cobra.Command{newDemo(c), newWatch(c), newShadow(c), newCommand(c), newUpdate(c), newRecord(c)}},
		{"site", []*cobra.Command{newHub(c), newPKI(c)}},
		{"image", []*cobra.Command{newRelease(c), delta.Command()}},
		{"rules", []*cobra.Command{newRules(c), newModel(c), newPlaybook(c)}},
		{"", []*cobra.Command{newMan(), newVersion(c)}},
	} {
		for _, cmd := range g.cmds {
			cmd.GroupID = g.id
			root.AddCommand(cmd)
		}
	}
	strict(root)
	return root
}

// strict makes a group of commands refuse a word that is none of them; cobra would print help and call it a success.
func strict(cmd *cobra.Command) {
	if cmd.HasSubCommands() && cmd.HasParent() && cmd.RunE == nil {
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("%s: which of its commands?", cmd.CommandPath())
		}
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

func newVersion(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		Example: "  holdfastctl version",
		RunE: deed(func(cmd *cobra.Command, _ []string) error {
			if c.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": ownVersion()})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "holdfastctl", ownVersion())
			return err
		}),
	}
}

func ownVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

func printJSON(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// terminal reports whether w is one, and its size in cells.
func terminal(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return width, height, err == nil
}

// stateDir is where what must survive is kept, of the XDG base directories or what the system has in their place.
func stateDir() (string, error) {
	if d := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "holdfast"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", hinted(fmt.Errorf("state directory: %w", err), "set XDG_STATE_HOME")
	}
	return filepath.Join(home, ".local", "state", "holdfast"), nil
}

func deviceArg(id string) error {
	if !hub.ValidDevice(id) {
		return usage("device %q: an id is 1 to 64 of A-Z a-z 0-9 _ . -", id)
	}
	return nil
}

var deviceTopic = regexp.MustCompile(`^holdfast/[A-Za-z0-9_.-]{1,64}/status$`)

// completeDevices offers the devices the broker has a status of, if it answers within a second.
func (c *connection) completeDevices(max int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if max > 0 && len(args) >= max {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		o, err := c.options(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		o.Timeout = time.Second
		mq, err := client.Dial(ctx, o)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer mq.Close()
		kept, _ := mq.Retained(ctx, "holdfast/+/status") // as far as they came in time
		var ids []cobra.Completion
		for _, m := range kept {
			if id, _, ok := message.Split(m.Topic); ok && deviceTopic.MatchString(m.Topic) {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids) // brokers send them in any order
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}
