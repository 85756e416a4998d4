package cases_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"holdfast/remediate/epl/cases"
)

// The cases are what Esper 9.0.0 was observed to do.
func TestCasesOfEsper(t *testing.T) {
	for _, f := range []string{"own", "grammar"} {
		all := load(t, f)
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

// Whatever a file has in it, it is read or refused, and what was read can be replayed.
func FuzzRead(f *testing.F) {
	all := load(f, "own")
	for _, c := range all[:20] {
		text, err := json.Marshal(map[string]any{"cases": []cases.Case{c}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"cases":[{"steps":[{"undeploy":["x"]},{"ev":"e1","type":"D"}]}]}`))
	f.Add([]byte{0x1f, 0x8b, 8})
	f.Fuzz(func(t *testing.T, text []byte) {
		some, err := cases.Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		for i := range some {
			if len(some[i].Steps) <= 200 {
				_ = some[i].Check()
			}
		}
	})
}
