package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// A teller narrates for people, or writes a line a chapter for programs. What it cannot write it forgets: the demo is
// judged by what happened.
type teller struct {
	out   io.Writer
	color bool
	json  bool
}

// The few colours there are (ECMA-48, 8.3.117).
const (
	bold  = "1"
	faint = "2"
	red   = "31"
	green = "32"
)

func (t *teller) paint(code, text string) string {
	if !t.color {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (t *teller) printf(format string, a ...any) {
	if !t.json {
		fmt.Fprintf(t.out, format, a...)
	}
}

func (t *teller) opening(s *stage) {
	t.printf("Holdfast on this machine: a broker, an agent of the real /proc, a link that can be cut. It ends by itself within a minute.\n")
	t.printf("  %-10s %s, on loopback, in memory\n", "broker", s.broker)
	t.printf("  %-10s %s, with two simulated lines: pump (output) and door (input)\n", "agent", deviceID)
	if s.o.LogName != "" {
		t.printf("  %-10s %s\n", "its log", s.o.LogName)
	}
}

func (t *teller) title(n int, title string) {
	t.printf("\n%s\n", t.paint(bold, fmt.Sprintf("%d. %s", n, title)))
}

// say tells what is about to happen.
func (t *teller) say(format string, a ...any) { t.printf("  "+format+"\n", a...) }

// command is what one would type to have the same happen.
func (t *teller) command(line string) { t.printf("  %s\n", t.paint(faint, "$ holdfastctl "+line)) }

// fact tells what was seen.
func (t *teller) fact(name, format string, a ...any) {
	t.printf("  %-10s %s\n", name, fmt.Sprintf(format, a...))
}

func (t *teller) verdict(o Outcome) {
	if o.OK {
		t.printf("  %s\n", t.paint(green, fmt.Sprintf("ok, %.1f s", o.Seconds)))
		return
	}
	t.printf("  %s\n", t.paint(red, "FAILED: "+o.Problem))
}

// line is a chapter for programs.
func (t *teller) line(o Outcome) {
	if !t.json {
		return
	}
	if b, err := json.Marshal(o); err == nil {
		fmt.Fprintf(t.out, "%s\n", b)
	}
}

// table is the end for people.
func (t *teller) table(outcomes []Outcome) error {
	if t.json {
		return nil
	}
	rows, width := [][3]string{{"CHAPTER", "SEEN", "OK"}}, [2]int{}
	for _, o := range outcomes {
		row := [3]string{o.Title, o.Seen, "yes"}
		if !o.OK {
			row[1], row[2] = o.Problem, "NO"
		}
		rows = append(rows, row)
	}
	for _, r := range rows {
		for i := range width {
			width[i] = max(width[i], len([]rune(r[i])))
		}
	}
	var b strings.Builder
	b.WriteByte('\n')
	for i, r := range rows {
		verdict := r[2]
		switch {
		case i == 0:
		case verdict == "yes":
			verdict = t.paint(green, verdict)
		default:
			verdict = t.paint(red, verdict)
		}
		fmt.Fprintf(&b, "%-*s  %-*s  %s\n", width[0], r[0], width[1], r[1], verdict)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// staying says what there is to play with.
func (t *teller) staying(broker string) {
	if t.json {
		if b, err := json.Marshal(map[string]string{"broker": broker, "device": deviceID}); err == nil {
			fmt.Fprintf(t.out, "%s\n", b)
		}
		return
	}
	t.printf("\n%s\n", t.paint(bold, "It stays, until Ctrl-C. In another shell:"))
	t.printf("  export HOLDFAST_BROKER=%s\n", broker)
	for _, line := range []string{"watch", "shadow get demo", "shadow diff demo", "shadow set demo period=5s", "command demo ping",
		"command demo relay.set name=pump on=true", "update status board", "command board update.history", "record --help"} {
		t.printf("  holdfastctl %s\n", line)
	}
}
