package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"holdfast/agent"
	"holdfast/agent/local"
	"holdfast/board"
	"holdfast/cmd/internal/wire"
)

func statusCommand(ctx context.Context, args []string, std streams) error {
	f := flags("status", "show what the running agent does", "holdfast status --json", std)
	var o overrides
	o.flags(f)
	asJSON := f.Bool("json", false, "print one JSON object")
	past := f.Bool("history", false, "how the last updates ended, and why")
	if err := parse(f, args); err != nil {
		return err
	}
	c, err := o.load()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if *past {
		if err := updatable(c); err != nil {
			return err
		}
		return printHistory(ctx, wire.Updater(c, slog.New(slog.DiscardHandler)), wire.Kinds(c), std.out, *asJSON)
	}
	path := filepath.Join(c.RunDir, local.Name)
	s, err := local.Ask(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return hinted{fmt.Errorf("no agent answers at %s", path), "systemctl status holdfast, or start one with holdfast run", exitTimeout}
	case errors.Is(err, fs.ErrPermission):
		return hinted{err, "run it as root or as a member of the group holdfast", exitFailed}
	case err != nil:
		return hinted{err, "the agent is there and does not answer: systemctl restart holdfast", exitTimeout}
	}
	if *asJSON {
		e := json.NewEncoder(std.out)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	return printStatus(std.out, &s)
}

// printStatus writes the status for people: what matters first, then the readings.
func printStatus(w io.Writer, s *agent.Status) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("device", "%s  %s", s.Board.ID, strings.TrimSpace(s.Board.Model+" "+s.Board.Arch))
	if line := facts(s.Facts); line != "" {
		row("board", "%s", line)
	}
	row("agent", "%s, up %s, session %s", s.Version, span(s.Uptime), s.Session)
	if s.Link.Up {
		row("link", "up for %s to %s, %d reconnects", span(s.Time.Sub(s.Link.Since).Seconds()), s.Link.Broker, s.Link.Reconnects)
	} else {
		row("link", "DOWN for %s", span(s.Time.Sub(s.Link.Since).Seconds()))
		if s.Link.Error != "" {
			row("", "%s; next try in %s", s.Link.Error, span(max(s.Link.Retry.Sub(s.Time).Seconds(), 0)))
		}
	}
	trial := ""
	if s.Shadow.Trial {
		trial = " (on trial)"
	}
	row("shadow", "version %d%s", s.Shadow.Version, trial)
	for _, path := range slices.Sorted(maps.Keys(s.Shadow.Refused)) {
		row("", "refused %s: %s", orWhole(path), s.Shadow.Refused[path])
	}
	row("spool", "%d waiting, %s on disk, %d dropped", s.Spool.Waiting, size(s.Spool.FlashBytes), s.Spool.Dropped)
	if r := s.Rules; r != nil {
		row("rules", "%d in force (%s), %d alerts open", r.Rules, r.Hash, len(r.Open))
		for _, a := range r.Open {
			row("ALERT", "%s", alertLine(a, s.Time))
		}
		if m := r.Model; m != nil && m.ID != "" {
			row("model", "%s, %s", m.ID, modelLine(m))
		}
		for _, d := range r.Diagnoses {
			row("FAULT", "%s", faultLine(d, s.Time))
		}
		if p := r.Repairs; p != nil && p.Playbooks > 0 {
			row("repairs", "%s", repairLine(p))
		}
	}
	if !s.Trusted {
		row("clock", "not set: times are marked untrusted")
	}
	for _, part := range slices.Sorted(maps.Keys(s.Problems)) {
		if part != "link" {
			row("PROBLEM", "%s: %s", part, s.Problems[part])
		}
	}
	b.WriteByte('\n')
	for _, src := range s.Sources {
		if src.Source == "collector" {
			continue
		}
		name := src.Source
		if src.Instance != "" {
			name += " " + src.Instance
		}
		var fields []string
		for _, k := range slices.Sorted(maps.Keys(src.Numbers)) {
			fields = append(fields, k+"="+number(k, src.Numbers[k]))
		}
		for _, k := range slices.Sorted(maps.Keys(src.Texts)) {
			fields = append(fields, k+"="+src.Texts[k])
		}
		fmt.Fprintf(&b, "%-24s %s\n", name, strings.Join(fields, " "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// repairLine is how repairs stand.
func repairLine(p *agent.RepairStatus) string {
	line := fmt.Sprintf("%d playbooks", p.Playbooks)
	if p.Repair != "" {
		line += fmt.Sprintf("; %s %s: %s", p.Repair, p.Rung, p.Step)
	}
	if p.Refused != "" {
		line += "; not now: " + p.Refused
	}
	return line
}

// modelLine is what a model says now.
func modelLine(m *agent.ModelStatus) string {
	said := "no verdict yet"
	if m.Class != "" {
		said = fmt.Sprintf("%s at %.2f", m.Class, m.Confidence)
	}
	if m.Doubt != "" {
		said += ", " + strings.ReplaceAll(m.Doubt, "_", " ")
	}
	if m.Measure != "" {
		said += ": " + m.Measure
	}
	if m.Lacking > 0 {
		said += fmt.Sprintf("; %d of its measures are not there and count as usual", m.Lacking)
	}
	return said
}

// faultLine is a fault that has a name, and why it has it.
func faultLine(d agent.Diagnosis, now time.Time) string {
	line := fmt.Sprintf("%s for %s, by %s", d.Fault, now.Sub(d.Since).Round(time.Second), d.By)
	if d.Rule != "" {
		line += " " + d.Rule
	}
	for i, r := range d.Reasons {
		line += fmt.Sprintf("%s %s %.4g (usually %.4g)", []string{":", ",", ","}[min(i, 2)], strings.TrimSpace(r.Stat+" "+r.Measure), r.Value, r.Usual)
	}
	return line
}

// alertLine says what is open: how bad, which rule, of what, and since when.
func alertLine(a agent.AlertStatus, now time.Time) string {
	words := []string{a.Severity, a.Rule}
	for _, name := range slices.Sorted(maps.Keys(a.Key)) {
		words = append(words, name+"="+a.Key[name])
	}
	line := strings.Join(words, " ") + ", for " + span(max(now.Sub(a.Since).Seconds(), 0))
	if a.Description != "" {
		line += ": " + a.Description
	}
	return line
}

// facts says in one line what the board says of itself.
func facts(f board.Facts) string {
	var all []string
	add := func(value, format string) {
		if value != "" {
			all = append(all, fmt.Sprintf(format, value))
		}
	}
	add(f.Profile, "profile %s")
	if f.Profile != "" && !f.Verified {
		all[0] += " (unverified)"
	}
	add(f.Revision, "revision %s")
	if f.Reset != "" {
		add(string(f.Reset), "started by: %s")
	} else {
		add(f.ResetWords, "started by: %s")
	}
	add(f.Root, "/ %s")
	for _, w := range f.Watchdogs {
		if w.Active {
			add(cmp.Or(w.Identity, w.Name), "watchdog fed: %s")
		}
	}
	return strings.Join(all, ", ")
}

func orWhole(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// number writes a measure by its unit.
func number(name string, v float64) string {
	switch {
	case strings.HasSuffix(name, "_ratio"):
		return fmt.Sprintf("%.1f%%", 100*v)
	case strings.HasSuffix(name, "_bytes"):
		return strings.ReplaceAll(size(int64(v)), " ", "")
	case strings.HasSuffix(name, "_bytes_per_second"):
		return strings.ReplaceAll(size(int64(v)), " ", "") + "/s"
	}
	return fmt.Sprintf("%.6g", v)
}
