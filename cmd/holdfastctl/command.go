package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/args"
	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/envelope"
	"holdfast/cmd/holdfastctl/internal/message"
)

type order struct {
	issuer string
	seq    uint64
	life   time.Duration
	wait   time.Duration
}

func newCommand(c *connection) *cobra.Command {
	var o order
	cmd := &cobra.Command{
		Use:   "command DEVICE NAME [key=value...]",
		Short: "Have a device do something",
		Long: `command sends one command and waits for the answer. Arguments are numbers, true, false or text; key:=JSON gives any
other value, and key:="7" the text 7. What a device may be asked is set by its own configuration.

A command carries a random id, who sent it, and a number that counts up for each device, so that the device does it at
most once. The number is kept in the user's state directory.

Exit codes: 0 done, 1 refused or not done, 3 no answer in time. A command without an answer may still be done until it
expires.`,
		Example:           "  holdfastctl command gate-7 ping\n  holdfastctl command gate-7 relay.set name=pump on=true\n  holdfastctl command gate-7 log.tail unit=ssh.service lines=20 --json",
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeCommand(c),
	}
	f := cmd.Flags()
	f.StringVar(&o.issuer, "issuer", "", "`NAME` of who sends it (default user@host)")
	f.Uint64Var(&o.seq, "seq", 0, "sequence `NUMBER` instead of the next one")
	f.DurationVar(&o.life, "expires", time.Minute, "how long the device may take to begin")
	f.DurationVar(&o.wait, "wait", 0, "how long to wait for the answer (default: until it expires, and 5 s)")
	cmd.RunE = deed(func(cmd *cobra.Command, words []string) error { return sendCommand(cmd, c, o, words) })
	return cmd
}

func completeCommand(c *connection) cobra.CompletionFunc {
	devices := c.completeDevices(1)
	return func(cmd *cobra.Command, words []string, to string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(words) == 1 {
			return []cobra.Completion{"ping", "sample", "relay.set", "relay.pulse", "unit.restart", "reboot", "log.tail"}, cobra.ShellCompDirectiveNoFileComp
		}
		return devices(cmd, words, to)
	}
}

func sendCommand(cmd *cobra.Command, c *connection, o order, words []string) error {
	device, name := words[0], words[1]
	if err := deviceArg(device); err != nil {
		return err
	}
	if o.life < time.Second || o.life > 24*time.Hour {
		return usage("--expires %s: wants 1s to 24h", o.life)
	}
	if o.wait == 0 {
		o.wait = o.life + 5*time.Second
	}
	list, err := args.Parse(words[2:])
	if err != nil {
		return usage("command: %w", err)
	}
	tree, err := args.Tree(list)
	if err != nil {
		return usage("command: %w", err)
	}
	if o.issuer == "" {
		o.issuer = self()
	}
	if len(o.issuer) > 64 {
		return usage("--issuer: longer than 64 bytes")
	}
	ctx := cmd.Context()
	mq, err := c.dial(cmd)
	if err != nil {
		return err
	}
	defer mq.Close()
	// Only now, so that a broker that is away does not break the sequence.
	if o.seq == 0 {
		if o.seq, err = nextSeq(ctx, o.issuer, device); err != nil {
			return err
		}
	}
	r, err := ask(ctx, mq, device, envelope.New(o.issuer, o.seq, name, tree, time.Now(), o.life), o.wait)
	if err != nil {
		return err
	}
	return showResult(cmd, c.json, device, name, r)
}

func nextSeq(ctx context.Context, issuer, device string) (uint64, error) {
	dir, err := stateDir()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	return envelope.Next(ctx, filepath.Join(dir, "sequences"), issuer, device)
}

// self is user@host, cut to what an issuer may be long.
func self() string {
	name := "operator"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name[:min(64, len(name))]
}

// ask publishes the envelope and returns the answer to it.
func ask(ctx context.Context, mq *client.Client, device string, e envelope.Envelope, wait time.Duration) (r envelope.Result, err error) {
	if err := mq.Subscribe(ctx, "holdfast/"+device+"/command/result"); err != nil {
		return r, err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return r, err
	}
	if err := mq.Publish(ctx, "holdfast/"+device+"/command", body, false); err != nil {
		return r, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case m := <-mq.Messages():
			if r, err := envelope.ParseResult(m.Payload); err == nil && r.ID == e.ID {
				return r, nil
			}
		case <-mq.Lost():
			return r, fmt.Errorf("%s: %s: %w", device, e.Name, mq.Why())
		case <-ctx.Done():
			return r, ctx.Err()
		case <-timer.C:
			return r, &failure{code: exitSilent, err: fmt.Errorf("%s: %s: no answer within %s", device, e.Name, wait),
				hints: []string{"`holdfastctl watch --once " + device + "` shows whether the device is online", "it may still do it until " + e.Expires.Local().Format(time.TimeOnly)}}
		}
	}
}

func showResult(cmd *cobra.Command, asJSON bool, device, name string, r envelope.Result) error {
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), r); err != nil {
			return err
		}
	}
	if !r.OK {
		f := &failure{code: exitFailed, err: fmt.Errorf("%s: %s: %s", device, name, message.Clean(r.Error, 500))}
		switch {
		case strings.Contains(r.Error, "clock is not set"):
			f.hints = []string{fmt.Sprintf("`holdfastctl command %s ping` puts the sequence in order; then this again", device)}
		case strings.Contains(r.Error, "sequence"):
			f.hints = []string{"the numbers kept here are behind the device's: --seq with a higher one, or another --issuer"}
		}
		return f
	}
	if asJSON {
		return nil
	}
	return showFields(cmd, r.Result)
}

// showFields prints an object a line for each member, and anything else as JSON.
func showFields(cmd *cobra.Command, raw json.RawMessage) error {
	if len(raw) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "ok")
		return err
	}
	v, err := args.JSON(raw)
	if err != nil {
		return errors.New("the device's result is not JSON")
	}
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "ok", oneLine(v))
		return err
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		lines := []string{oneLine(m[k])}
		if list, isList := m[k].([]any); isList && len(list) > 1 { // log lines, most likely
			lines = nil
			for _, l := range list {
				lines = append(lines, oneLine(l))
			}
		}
		for _, l := range lines {
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", message.Clean(k, 60), l); err != nil {
				return err
			}
		}
	}
	return nil
}

// oneLine is a value as text, fit for a terminal.
func oneLine(v any) string {
	text, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v) // it came from JSON
		text = string(b)
	}
	return message.Clean(text, 4000)
}
