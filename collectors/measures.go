package collectors

import (
	"fmt"
	"strings"
)

// A Measure says what one field of one source means. Every driver keeps a table of them, and docs/measures.md is made
// from the tables.
type Measure struct {
	Source   string // as Source.Name returns it
	Instance string // what tells several samples of the source apart; empty where there is one
	Field    string // as in Sample.Fields
	Unit     string // SI, or "ratio" (0 to 1), "count", "text", "truth"
	Help     string // one sentence: what is measured, and when the field is left out
}

// Describe returns the measures of one source. A row is field, unit, help.
func Describe(source, instance string, rows [][3]string) []Measure {
	table := make([]Measure, len(rows))
	for i, r := range rows {
		table[i] = Measure{Source: source, Instance: instance, Field: r[0], Unit: r[1], Help: r[2]}
	}
	return table
}

// MeasuresMarkdown returns the table as Markdown: a heading for each source, in the order of the table, and a row for
// each field.
func MeasuresMarkdown(table []Measure) string {
	var b strings.Builder
	for i, m := range table {
		if i == 0 || m.Source != table[i-1].Source {
			fmt.Fprintf(&b, "\n### %s\n\n", m.Source)
			if m.Instance != "" {
				fmt.Fprintf(&b, "Instance: %s.\n\n", m.Instance)
			}
			b.WriteString("| field | unit | meaning |\n|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.Field, m.Unit, m.Help)
	}
	return b.String()
}
