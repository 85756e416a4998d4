package rules_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"holdfast/cmd/holdfastctl/internal/rules"
)

var update = flag.Bool("update", false, "write what comes of the examples into the documents")

const rulesDoc = "../../../../docs/rules.md"

// An example is a block of rules, one of events, and one of what they come to.
var example = regexp.MustCompile("(?s)```sql\n(.*?)```\n(\n```jsonl\n(.*?)```\n\n```jsonl\n(.*?)```\n)?")

func TestTheExamplesOfTheDocumentationDoWhatTheySay(t *testing.T) {
	b, err := os.ReadFile(rulesDoc)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	text := example.ReplaceAllStringFunc(string(b), func(whole string) string {
		n++
		m := example.FindStringSubmatch(whole)
		if m[2] == "" {
			t.Errorf("no events and rows behind\n%s", m[1])
			return whole
		}
		all, tally, err := run(t, m[1], m[3], 0)
		if err != nil {
			t.Errorf("%v, of\n%s", err, m[1])
			return whole
		}
		var got strings.Builder
		for _, match := range all {
			line, err := json.Marshal(match)
			if err != nil {
				t.Fatal(err)
			}
			got.WriteString(string(line) + "\n")
		}
		if got.String() != m[4] && !*update {
			t.Errorf("%s\ncame to\n%s\nand not to\n%s", m[1], got.String(), m[4])
		}
		if tally.Matches == 0 {
			t.Errorf("nothing matches\n%s", m[1])
		}
		return strings.TrimSuffix(whole, m[4]+"```\n") + got.String() + "```\n"
	})
	if n < 40 {
		t.Errorf("only %d examples were found", n)
	}
	if *update {
		if err := os.WriteFile(rulesDoc, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const esperDoc = "../../../../docs/coming-from-esper.md"

// A refusal is a block of a statement and one of what is said of it.
var refusal = regexp.MustCompile("(?s)```sql\n(.*?)```\n\n```text\n(.*?)\n```\n")

// What the page for those who know Esper says is left out is refused, in those words.
func TestWhatIsLeftOutOfEsperIsRefused(t *testing.T) {
	b, err := os.ReadFile(esperDoc)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	text := refusal.ReplaceAllStringFunc(string(b), func(whole string) string {
		n++
		m := refusal.FindStringSubmatch(whole)
		_, _, err := run(t, m[1], "", 0)
		var broken rules.Broken
		if !errors.As(err, &broken) || len(broken) != 1 {
			t.Errorf("%s: %v", m[1], err)
			return whole
		}
		_, said, _ := strings.Cut(broken[0].String(), ".epl:")
		if said != m[2] && !*update {
			t.Errorf("%s\nis refused with\n%s\nand not\n%s", m[1], said, m[2])
		}
		return strings.Replace(whole, "```text\n"+m[2], "```text\n"+said, 1)
	})
	if n < 15 {
		t.Errorf("only %d statements were found", n)
	}
	if *update {
		if err := os.WriteFile(esperDoc, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
