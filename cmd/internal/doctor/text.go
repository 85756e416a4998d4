package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// lineBytes bounds what one thing seen may take on a line: certificates and brokers choose their own words.
const lineBytes = 400

// printable returns the check with what came from outside fit for a terminal.
func (c Check) printable() Check {
	c.Subject, c.Seen, c.Hint = clean(c.Subject), clean(c.Seen), clean(c.Hint)
	detail := make([]string, len(c.Detail))
	for i, d := range c.Detail {
		detail[i] = clean(d)
	}
	if c.Detail = detail; len(detail) == 0 {
		c.Detail = nil
	}
	return c
}

// clean takes out what would move the cursor or hide text, and what is too long.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	s = strings.TrimSpace(s)
	if len(s) > lineBytes {
		cut := lineBytes
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return s
}

var marks = map[Outcome]string{OK: "ok", Warn: "WARN", Fail: "FAIL", Skipped: "-"}

// machine heads what is looked at after the brokers.
const machine = "this machine"

// alike reports whether two checks were skipped for the same reason.
func alike(a, b Check) bool {
	return b.Outcome == Skipped && a.Subject == b.Subject && a.Seen == b.Seen
}

// Text writes the report for people: a line a check, below it what to do, and a summary at the end.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "holdfast %s on %s\n\n", r.Version, orUnknown(r.Device))
	place := ""
	for i := 0; i < len(r.Checks); i++ {
		c := r.Checks[i]
		broker := strings.Contains(c.Subject, "://")
		switch {
		case broker && c.Subject != place:
			place = c.Subject
			fmt.Fprintf(&b, "\n%s\n", place)
		case !broker && place != "" && place != machine:
			place = machine
			fmt.Fprintf(&b, "\n%s\n", place)
		}
		if c.Outcome == Skipped { // what was skipped for one reason is one line
			names := []string{c.Name}
			for ; i+1 < len(r.Checks) && c.Detail == nil && alike(c, r.Checks[i+1]); i++ {
				names = append(names, r.Checks[i+1].Name)
			}
			if c.Name = strings.Join(names, ", "); len(names) > 1 {
				fmt.Fprintf(&b, "%-5s %s: %s\n", marks[Skipped], c.Name, c.Seen)
				continue
			}
		}
		seen := c.Seen
		if c.Subject != "" && !broker {
			seen = c.Subject + ": " + seen
		}
		fmt.Fprintf(&b, "%-5s %-13s  %s\n", marks[c.Outcome], c.Name, seen)
		for _, d := range c.Detail {
			fmt.Fprintf(&b, "%21s%s\n", "", d)
		}
		if c.Hint != "" {
			fmt.Fprintf(&b, "%21shint: %s\n", "", c.Hint)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.summary())
	_, err := io.WriteString(w, b.String())
	return err
}

func orUnknown(device string) string {
	if device == "" {
		return "an unnamed device"
	}
	return device
}

// summary is the verdict in one line.
func (r *Report) summary() string {
	verdict := "All is well"
	switch fail, warn := r.Count[Fail], r.Count[Warn]; {
	case fail > 0:
		verdict = fmt.Sprintf("%d failed; begin with the first, the others may follow from it", fail)
		if fail == 1 {
			verdict = "1 failed"
		}
	case warn > 0:
		verdict = "Nothing failed"
	}
	warnings := "warnings"
	if r.Count[Warn] == 1 {
		warnings = "warning"
	}
	return fmt.Sprintf("%s. %d checks: %d ok, %d %s, %d failed, %d skipped.", verdict, len(r.Checks),
		r.Count[OK], r.Count[Warn], warnings, r.Count[Fail], r.Count[Skipped])
}
