package wire_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

func TestRulesAreReadByNameAndWhatCannotBeReadIsNamed(t *testing.T) {
	c := config.Default()
	c.Rules.Dir = filepath.Join(t.TempDir(), "rules[1]")
	if files, err := wire.RuleFiles(c); err != nil || len(files) != 0 {
		t.Errorf("no directory: %v, %v", files, err)
	}
	if err := os.MkdirAll(filepath.Join(c.Rules.Dir, "dir.epl"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.Update.Content, c.Rules.Content = c.Rules.Dir, true
	for name, text := range map[string]string{"b.epl": "b", "a.epl": "a", "old.epl.dpkg-old": "x", "current": "c", "large.epl": strings.Repeat("x", 256<<10+1)} {
		if err := os.WriteFile(filepath.Join(c.Rules.Dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files, err := wire.RuleFiles(c)
	var names []string
	for _, f := range files {
		names = append(names, f.Name+"="+f.Text)
	}
	if got := strings.Join(names, " "); got != "a.epl=a b.epl=b current=c" {
		t.Errorf("files = %s", got)
	}
	if err == nil || !strings.Contains(err.Error(), "dir.epl is no file") || !strings.Contains(err.Error(), "large.epl: more than") {
		t.Errorf("error = %v", err)
	}
}
