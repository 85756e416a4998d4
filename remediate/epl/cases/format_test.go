package cases_test

import (
	"os"
	"testing"

	"holdfast/remediate/epl"
	"holdfast/remediate/epl/cases"
)

func load(t testing.TB, names ...string) (all []cases.Case) {
	t.Helper()
	for _, name := range names {
		f, err := os.Open("testdata/" + name + ".json.gz")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		some, err := cases.Read(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

// Formatting a statement does not change what it means: those that agree still do, column names and all.
func TestFormattedStatementsMeanTheSame(t *testing.T) {
	changed := 0
	for _, c := range load(t, "own", "grammar") {
		before := c.Check()
		for i, s := range c.Statements {
			text, err := epl.Format(s.Name, s.EPL)
			if err != nil {
				if before == "" {
					t.Errorf("%s: %v", c.ID, err)
				}
				continue
			}
			if text != s.EPL {
				changed++
			}
			c.Statements[i].EPL = text
		}
		if after := c.Check(); (before == "") != (after == "") {
			t.Errorf("%s: %.600s", c.ID, after)
		}
	}
	if changed < 1000 {
		t.Errorf("only %d statements became others", changed)
	}
}
