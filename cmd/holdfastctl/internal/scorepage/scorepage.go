// Package scorepage draws what a model is worth as a page of HTML that needs nothing else: no script, no file beside it.
package scorepage

import (
	"fmt"
	"html"
	"io"
	"strings"

	"holdfast/remediate/forest/train"
)

const style = `body{font:15px/1.5 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}td,th{padding:.15em .8em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#16181c}td,th{border-color:#444}svg text{fill:#ddd}}`

// Write writes the page. The name says what data it was.
func Write(w io.Writer, s *train.Score, name string) {
	title := html.EscapeString("Model " + s.Model[:min(12, len(s.Model))] + " on " + name)
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>%s</title><style>%s</style></head><body>\n",
		title, style)
	fmt.Fprintf(w, "<h1>%s</h1>\n<table>", title)
	for _, line := range [][2]string{
		{"Macro-F1 by row", fmt.Sprintf("%.3f", s.MacroF1)},
		{"Macro-F1 by event", fmt.Sprintf("%.3f", s.EventMacroF1)},
		{"Faults named right", fmt.Sprintf("%d of %d", s.EventsRight, s.Events)},
		{"Rows", fmt.Sprintf("%d, %.1f %% right", s.Rows, 100*s.Accuracy)},
		{"Unsure, out of range", fmt.Sprintf("%d, %d", s.Unsure, s.OutOfRange)},
		{"False episodes", fmt.Sprintf("%d in %.4f device-days, %.1f a day", s.FalseEpisodes, s.NormalDays, s.FalsePerDay)},
		{"Calibration error", fmt.Sprintf("%.3f", s.CalibrationOff)},
	} {
		fmt.Fprintf(w, "<tr><td>%s</td><td>%s</td></tr>", line[0], line[1])
	}
	fmt.Fprint(w, "</table>\n<h2>Confusion</h2><p>Rows by what they are (left) and what they are called (top); the shade is the share of the row.</p>\n")
	io.WriteString(w, Confusion(s))
	fmt.Fprint(w, "<h2>Calibration</h2><p>The share of verdicts that are right, by their confidence. On the line confidence is what it says it is.</p>\n")
	io.WriteString(w, Calibration(s))
	fmt.Fprint(w, "<h2>Classes</h2>\n<table><tr><th>Class</th><th>F1</th><th>Precision</th><th>Recall</th><th>Rows</th></tr>\n")
	for _, name := range s.Classes {
		c := s.PerClass[name]
		fmt.Fprintf(w, "<tr><td>%s</td><td>%.3f</td><td>%.3f</td><td>%.3f</td><td>%d</td></tr>\n", html.EscapeString(name), c.F1, c.Precision, c.Recall, c.Rows)
	}
	fmt.Fprint(w, "</table></body></html>\n")
}

// frame begins a plot, as an element of a page and as a file of its own.
func frame(w io.Writer, width, height int, label string) {
	fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\" aria-label=\"%s\">", width, height, width, label)
}

// Confusion draws what rows are and what they are called.
func Confusion(s *train.Score) string {
	const cell, left, top, edge = 40, 120, 110, 40 // the last name leans over the edge
	w := &strings.Builder{}
	n := len(s.Classes)
	frame(w, left+n*cell+edge, top+n*cell+1, "confusion matrix")
	for i, name := range s.Classes {
		name = html.EscapeString(name)
		fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", left-6, top+i*cell+cell/2+4, name)
		fmt.Fprintf(w, "<text transform=\"translate(%d %d) rotate(-60)\">%s</text>", left+i*cell+cell/2, top-6, name)
	}
	for i, row := range s.Confusion {
		sum := 0
		for _, k := range row {
			sum += k
		}
		for j, k := range row {
			color := "#c33"
			if i == j {
				color = "#27a"
			}
			share := float64(k) / float64(max(sum, 1))
			fmt.Fprintf(w, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\" fill-opacity=\"%.2f\" stroke=\"#8884\"/>",
				left+j*cell, top+i*cell, cell, cell, color, share*0.8)
			if k > 0 {
				fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%d</text>", left+j*cell+cell/2, top+i*cell+cell/2+4, k)
			}
		}
	}
	w.WriteString("</svg>\n")
	return w.String()
}

// Calibration draws how often verdicts of each confidence are right.
func Calibration(s *train.Score) string {
	const size, edge = 300, 40
	w := &strings.Builder{}
	at := func(x, y float64) (float64, float64) { return edge + x*size, 10 + (1-y)*size }
	frame(w, size+2*edge, size+edge+10, "calibration")
	fmt.Fprintf(w, "<rect x=\"%d\" y=\"10\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#888\"/><line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"10\" stroke=\"#888\" stroke-dasharray=\"4\"/>",
		edge, size, size, edge, size+10, edge+size)
	for _, tick := range []float64{0, 0.5, 1} {
		x, y := at(tick, tick)
		fmt.Fprintf(w, "<text x=\"%.0f\" y=\"%d\" text-anchor=\"middle\">%.1f</text><text x=\"%d\" y=\"%.0f\" text-anchor=\"end\">%.1f</text>", x, size+28, tick, edge-6, y+4, tick)
	}
	fmt.Fprintf(w, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">confidence</text>", edge+size*3/4, size+28)
	fmt.Fprintf(w, "<text transform=\"translate(%d %d) rotate(-90)\" text-anchor=\"middle\">right</text>", edge-8, 10+size/4)
	points := ""
	most := 1
	for _, b := range s.Bins {
		most = max(most, b.Rows)
	}
	for _, b := range s.Bins {
		if b.Rows == 0 {
			continue
		}
		x, y := at(b.Confidence, b.Right)
		points += fmt.Sprintf("%.1f,%.1f ", x, y)
		fmt.Fprintf(w, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"#27a\"><title>%d rows at %.2f: %.1f %% right</title></circle>",
			x, y, 3+9*float64(b.Rows)/float64(most), b.Rows, b.Confidence, 100*b.Right)
	}
	fmt.Fprintf(w, "<polyline points=\"%s\" fill=\"none\" stroke=\"#27a\"/></svg>\n", points)
	return w.String()
}

// pictureStyle makes a plot readable on a page that is light or dark, and knows nothing of it.
const pictureStyle = `<style>text{font:12px sans-serif}</style><rect width="100%" height="100%" fill="#fff"/>`

// Pictures returns the plots as files that stand alone, by their names.
func Pictures(s *train.Score) map[string][]byte {
	alone := func(plot string) []byte { return []byte(strings.Replace(plot, ">", ">"+pictureStyle, 1)) }
	return map[string][]byte{"confusion.svg": alone(Confusion(s)), "calibration.svg": alone(Calibration(s))}
}
