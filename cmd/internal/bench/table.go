package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A row is one figure. Those without a key are there to be compared with.
type row struct {
	key, about, value, target string
	missed                    bool
}

type table struct {
	rows  []row
	notes []string
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func round(v float64, decimals int) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'f', decimals, 64), 64)
	return v
}

// atMost adds a figure with a target.
func (t *table) atMost(key, about string, v, limit float64) {
	t.rows = append(t.rows, row{key, about, number(v), "<=" + number(limit), !(v <= limit)})
}

// atLeast adds a figure whose target is a least value: how much was exercised, so that a void run does not pass.
func (t *table) atLeast(key, about string, v, limit float64) {
	t.rows = append(t.rows, row{key, about, number(v), ">=" + number(limit), !(v >= limit)})
}

// beside adds something measured in the same run.
func (t *table) beside(about, value string) {
	t.rows = append(t.rows, row{about: about, value: value, target: "measured beside"})
}

// reference adds a figure that is not measured here.
func (t *table) reference(about, value string) {
	t.rows = append(t.rows, row{about: about, value: value, target: "reference, not measured here"})
}

// note adds a line on how something was measured.
func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

var errMissed = errors.New("a target was missed")

// print writes the table, the notes and the line for machines.
func (t *table) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\nfigure\tmeasured\ttarget\t")
	line := []string{"bench:"}
	var err error
	for _, r := range t.rows {
		mark := ""
		if r.missed {
			mark, err = "MISSED", errMissed
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", r.about, r.value, r.target, mark)
		if r.key != "" {
			line = append(line, fmt.Sprintf("%s=%s (%s)", r.key, r.value, r.target))
		}
	}
	tw.Flush()
	fmt.Fprintln(w)
	for _, n := range t.notes {
		fmt.Fprintln(w, "- "+n)
	}
	fmt.Fprintln(w, strings.Join(line, " "))
	return err
}
