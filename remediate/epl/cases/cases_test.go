package cases_test

import (
	"compress/gzip"
	"os"
	"testing"

	"holdfast/remediate/epl/cases"
)

// The cases are what Esper 9.0.0 was observed to do.
func TestCasesOfEsper(t *testing.T) {
	for _, f := range []string{"own", "grammar"} {
		r, err := os.Open("testdata/" + f + ".json.gz")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		all, err := cases.Read(z)
		if err != nil {
			t.Fatal(err)
		}
		agree := 0
		for i := range all {
			if d := all[i].Check(); d != "" {
				t.Errorf("%s: %.600s", all[i].ID, d)
				continue
			}
			agree++
		}
		t.Logf("%s: %d of %d cases agree", f, agree, len(all))
		if len(all) < 300 {
			t.Errorf("%s: only %d cases", f, len(all))
		}
	}
}
