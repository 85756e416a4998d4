package watch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/cmd/holdfastctl/internal/message"
)

// A Screen is what is drawn on.
type Screen struct {
	Width, Height int    // in cells; 0 is without limit
	Color         bool   // with ANSI colours
	Broker        string // for the first line
	Down          string // why we hear nothing at present, or ""
}

const (
	red   = "\x1b[31m"
	amber = "\x1b[33m"
	green = "\x1b[32m"
	faint = "\x1b[2m"
	plain = "\x1b[0m"
)

// cell is a text and how it is shown.
type cell struct {
	text  string
	color string
	left  bool
}

var head = []cell{{"DEVICE", faint, true}, {"STATE", faint, true}, {"SEEN", faint, false}, {"CPU", faint, false},
	{"MEM", faint, false}, {"TEMP", faint, false}, {"DISK", faint, false}, {"NET", faint, false}, {"ALERTS", faint, false},
	{"LAG", faint, false}, {"LOST", faint, false}}

// Draw returns the table and the latest events as lines, as they are at now: worst first, then by name.
func (f *Fleet) Draw(s Screen, now time.Time) []string {
	list := make([]*device, 0, len(f.devices))
	online := 0
	for _, d := range f.devices {
		list = append(list, d)
		if d.status != nil && d.status.Online {
			online++
		}
	}
	slices.SortFunc(list, func(a, b *device) int {
		return cmp.Or(cmp.Compare(b.trouble(now), a.trouble(now)), cmp.Compare(a.id, b.id))
	})
	title := fmt.Sprintf("%s  %d devices, %d online", s.Broker, len(list), online)
	lines := []string{s.cut([]cell{{text: title}}, nil)}
	if s.Down != "" {
		lines[0] = s.cut([]cell{{text: title + "  "}, {text: "not connected: " + message.Clean(s.Down, 120), color: red}}, nil)
	}
	lines = append(lines, "")
	rows := [][]cell{head}
	room := len(list)
	if s.Height > 0 {
		room = min(room, max(1, s.Height-len(lines)-1-min(len(f.events)+2, 8)))
	}
	lost := f.lost()
	for _, d := range list[:room] {
		rows = append(rows, d.row(now, lost[d.id]))
	}
	widths := make([]int, len(head))
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, r := range rows {
		lines = append(lines, s.cut(r, widths))
	}
	if n := len(list) - room; n > 0 {
		lines = append(lines, s.cut([]cell{{text: fmt.Sprintf("and %d more devices", n), color: faint}}, nil))
	}
	return f.drawEvents(s, lines)
}

func (f *Fleet) drawEvents(s Screen, lines []string) []string {
	room := len(f.events)
	if s.Height > 0 {
		room = min(room, s.Height-len(lines)-1)
	} else {
		room = min(room, 20)
	}
	if room <= 0 {
		return lines
	}
	lines = append(lines, "")
	for _, e := range f.events[len(f.events)-room:] {
		lines = append(lines, s.cut(e.cells(), nil))
	}
	return lines
}

// lost is how many records of each device are missing.
func (f *Fleet) lost() map[string]uint64 {
	m := map[string]uint64{}
	r := f.ledger.Report()
	for _, s := range r.Sessions {
		for _, g := range s.Missing {
			m[s.Device] += g.Len()
		}
	}
	return m
}

// trouble ranks: offline first, then alerts.
func (d *device) trouble(now time.Time) int {
	switch {
	case d.status != nil && !d.status.Online:
		return 2
	case d.alerting(now) > 0:
		return 1
	}
	return 0
}

func (d *device) alerting(now time.Time) (n int) {
	for _, t := range d.alerts {
		if now.Sub(t) < alertsFor {
			n++
		}
	}
	return n
}

func (d *device) row(now time.Time, lost uint64) []cell {
	state := cell{"?", faint, true}
	seen := d.seen
	if d.status != nil && d.status.Online {
		state = cell{"online", green, true}
	} else if d.status != nil {
		state = cell{"offline", red, true}
		if seen.IsZero() {
			seen = d.status.Since
		}
	}
	m := &d.measures
	alerts := cell{text: "0"}
	if n := d.alerting(now); n > 0 {
		alerts = cell{text: fmt.Sprint(n), color: red}
	}
	gone := cell{text: fmt.Sprint(lost)}
	if lost > 0 {
		gone.color = amber
	}
	lag := cell{text: "-"}
	if d.lag >= 0 {
		lag = cell{text: span(d.lag), color: grade(d.lag.Seconds(), 30, 300)}
	}
	return []cell{{message.Clean(d.id, 32), "", true}, state, {text: ago(now, seen)}, percent(m.cpu), percent(m.memory),
		degrees(m.temperature), percent(m.disk), {text: rate(m.network)}, alerts, lag, gone}
}

func grade(v, warn, bad float64) string {
	switch {
	case v >= bad:
		return red
	case v >= warn:
		return amber
	}
	return ""
}

func percent(ratio float64) cell {
	if ratio < 0 {
		return cell{text: "-"}
	}
	return cell{text: fmt.Sprintf("%.0f %%", 100*ratio), color: grade(ratio, .75, .9)}
}

func degrees(v float64) cell {
	if v <= unknown {
		return cell{text: "-"}
	}
	return cell{text: fmt.Sprintf("%.0f °C", v), color: grade(v, 70, 80)}
}

func rate(v float64) string {
	switch {
	case v < 0:
		return "-"
	case v < 1000:
		return fmt.Sprintf("%.0f B/s", v)
	case v < 999.5e3:
		return fmt.Sprintf("%.0f kB/s", v/1e3)
	case v < 999.5e6:
		return fmt.Sprintf("%.1f MB/s", v/1e6)
	}
	return fmt.Sprintf("%.1f GB/s", v/1e9)
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(max(0, now.Sub(t))) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f d", d.Hours()/24)
}

func (e Entry) cells() []cell {
	color := ""
	switch e.Kind {
	case "alert", "offline":
		color = red
	case "gap", "diagnosis":
		color = amber
	case "online":
		color = green
	}
	return []cell{{e.Time.Format("15:04:05 "), faint, true}, {message.Clean(e.Device, 32) + " ", "", true},
		{e.Kind, color, true}, {" " + e.Text, "", true}}
}

// String is the entry as a line of text.
func (e Entry) String() string {
	return strings.TrimRight(Screen{}.cut(e.cells(), nil), " ")
}

// cut joins cells to one line no wider than the screen. With widths they are columns, two spaces apart.
func (s Screen) cut(cells []cell, widths []int) string {
	var b strings.Builder
	left := s.Width
	if left <= 0 {
		left = 1 << 20
	}
	for i, c := range cells {
		text := c.text
		if widths != nil {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if c.left {
				text += pad
			} else {
				text = pad + text
			}
			if i > 0 {
				text = "  " + text
			}
		}
		if n := utf8.RuneCountInString(text); n > left {
			text = string([]rune(text)[:left])
		}
		left -= utf8.RuneCountInString(text)
		if s.Color && c.color != "" && text != "" {
			text = c.color + text + plain
		}
		b.WriteString(text)
	}
	return strings.TrimRight(b.String(), " ")
}
