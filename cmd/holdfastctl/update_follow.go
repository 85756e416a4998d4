package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"holdfast/agent"
	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/message"
)

// line is a status on one line, fit for a terminal.
func line(s agent.UpdateStatus) string {
	text := fmt.Sprintf("%s  %s", s.Release, s.Phase)
	if s.Total > 0 && !s.Over() {
		text += fmt.Sprintf("  %.1f %%", s.Percent)
		if s.ETASeconds > 0 {
			text += fmt.Sprintf(", %s left", time.Duration(s.ETASeconds)*time.Second)
		}
	}
	if s.Paused {
		text += "  paused"
	}
	for _, more := range []string{s.Waiting, s.Reason, s.Error} {
		if more != "" {
			text += "  " + more
		}
	}
	return message.Clean(text, 500)
}

func (c *connection) follow(ctx context.Context, cmd *cobra.Command, mq *client.Client, device, id string, wait time.Duration) error {
	var late <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	_, _, live := terminal(cmd.OutOrStdout())
	shown := ""
	for {
		select {
		case m := <-mq.Messages():
			var s agent.UpdateStatus
			if json.Unmarshal(m.Payload, &s) != nil || s.ID != id {
				continue
			}
			if err := c.show(cmd, device, s, live && !s.Over(), &shown); err != nil {
				return err
			}
			if s.Over() {
				return verdictOf(device, s)
			}
		case <-mq.Lost():
			return fmt.Errorf("%s: job %s goes on; the connection is lost: %w", device, id, mq.Why())
		case <-ctx.Done():
			return hinted(fmt.Errorf("%s: job %s goes on: %w", device, id, ctx.Err()), "holdfastctl update status "+device)
		case <-late:
			return &failure{code: exitSilent, err: fmt.Errorf("%s: job %s did not end within %s", device, id, wait),
				hints: []string{"it goes on: holdfastctl update status " + device}}
		}
	}
}

// show prints a status: on a terminal over the one before, else a line for each that says something new.
func (c *connection) show(cmd *cobra.Command, device string, s agent.UpdateStatus, over bool, shown *string) error {
	out := cmd.OutOrStdout()
	if c.json {
		return printJSON(out, s)
	}
	line := device + "  " + line(s)
	if over {
		_, err := fmt.Fprint(out, "\r\x1b[K"+line)
		return err
	}
	if *shown == line {
		return nil
	}
	*shown = line
	_, _, live := terminal(out)
	start := ""
	if live {
		start = "\r\x1b[K"
	}
	_, err := fmt.Fprintln(out, start+line)
	return err
}

func verdictOf(device string, s agent.UpdateStatus) error {
	if s.Phase == "committed" {
		return nil
	}
	f := &failure{code: exitFailed, err: fmt.Errorf("%s: %s: %s: %s", device, s.Release, s.Phase, message.Clean(s.Error, 400))}
	switch s.Reason {
	case "quarantined":
		f.hints = []string{"the device does not try this release again; make another"}
	case "expired":
		f.hints = []string{"holdfastctl release publish signs the metadata anew"}
	case "incompatible", "parts", "kind":
		f.hints = []string{"holdfastctl release list shows what each release is for"}
	case "program":
		f.hints = []string{"a newer holdfast on the device first; holdfastctl release add --min-agent says which a release needs"}
	case "not_found":
		f.hints = []string{"holdfastctl release list shows what is published; only that is found"}
	case "downgrade":
		f.hints = []string{"a release of a lower number needs a permit: holdfastctl release add --downgrade-max-seq"}
	case "floor":
		f.hints = []string{"no permit goes below the floor; holdfastctl release list shows each release's"}
	}
	return f
}
