package wire_test

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// content is a configuration whose content in force is text, nothing where it is nil.
func content(t *testing.T, text []byte) config.Config {
	t.Helper()
	c := config.Default()
	c.Rules.Dir, c.Rules.Content, c.Diagnosis.Content = "", true, true
	c.Update.Content = t.TempDir()
	if text != nil {
		if err := os.WriteFile(filepath.Join(c.Update.Content, "current"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// zipped is an archive of name, text, name, text.
func zipped(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err == nil {
			_, err = f.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// brought is all that is read of a content, and the errors.
func brought(c config.Config) string {
	var words []string
	files, err := wire.RuleFiles(c)
	for _, f := range files {
		words = append(words, f.Name+"="+f.Text)
	}
	if err != nil {
		return err.Error()
	}
	model, err := wire.ModelOf(c)
	if err != nil {
		return err.Error()
	}
	if model != nil {
		words = append(words, "model="+string(model))
	}
	opened, err := wire.OpenContent(c)
	if err != nil {
		return err.Error()
	}
	defer opened.Close()
	if dir := opened.Playbooks(); dir != nil {
		names, err := fs.Glob(dir, "*.toml")
		if err != nil {
			return err.Error()
		}
		for _, name := range names {
			text, err := fs.ReadFile(dir, name)
			if err != nil {
				return err.Error()
			}
			words = append(words, name+"="+string(text))
		}
	}
	return strings.Join(words, " ")
}

func TestContentIsRulesPlaybooksAndAModelOrRulesAlone(t *testing.T) {
	whole := zipped(t, "rules/", "", "rules/b.epl", "B", "rules/a.epl", "A", "playbooks/leak.toml", "P", "model.hfm", "M")
	spoilt := bytes.Clone(whole)
	spoilt[bytes.Index(spoilt, []byte("model.hfm"))+len("model.hfm")+1] ^= 0xff // in what was packed
	for _, tt := range []struct {
		name string
		text []byte
		want string
	}{
		{"none", nil, ""},
		{"rules alone", []byte("select"), "current=select"},
		{"all of it", whole, "content/a.epl=A content/b.epl=B model=M leak.toml=P"},
		{"an empty archive", zipped(t), ""},
		{"a name without a place", zipped(t, "rules/a.txt", ""), `"rules/a.txt" has no place in it`},
		{"a name that climbs", zipped(t, "rules/../../x.epl", ""), "no place in it"},
		{"a script", zipped(t, "scripts/x.sh", ""), "no place in it"},
		{"a name twice", zipped(t, "model.hfm", "1", "model.hfm", "2"), "no place in it, which is for rules/*.epl, playbooks/*.toml and model.hfm, each once"},
		{"a model that is too large", zipped(t, "model.hfm", strings.Repeat("x", 200_001)), "200001 bytes, at most 200000"},
		{"a playbook that is too large", zipped(t, "playbooks/x.toml", strings.Repeat("x", 16<<10+1)), "at most 16384"},
		{"too many files", zipped(t, many(257)...), "257 files in it, at most 256"},
		{"cut off", whole[:len(whole)-30], "zip: not a valid zip file"},
		{"rules that are too long", bytes.Repeat([]byte("x"), 256<<10+1), "more than 262144 bytes"},
		{"an archive that is too large", append([]byte("PK\x03\x04"), make([]byte, 4<<20)...), "at most 4194304"},
		{"spoilt", spoilt, "model.hfm: zip: "},
	} {
		got := brought(content(t, tt.text))
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
}

func many(n int) (files []string) {
	for i := range n {
		files = append(files, "rules/"+strings.Repeat("a", i+1)+".epl", "")
	}
	return files
}

func TestTheModelOfTheFileCountsWhileTheContentHasNone(t *testing.T) {
	c := content(t, zipped(t, "rules/a.epl", "A"))
	c.Diagnosis.Model = filepath.Join(t.TempDir(), "m.hfm")
	if _, err := wire.ModelOf(c); err == nil {
		t.Error("a model that is not there is no error")
	}
	if err := os.WriteFile(c.Diagnosis.Model, []byte("F"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ content, want string }{{"", "F"}, {"M", "M"}} {
		if tt.content != "" {
			if err := os.WriteFile(filepath.Join(c.Update.Content, "current"), zipped(t, "model.hfm", tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := wire.ModelOf(c); string(got) != tt.want || err != nil {
			t.Errorf("%q, %v, want %s", got, err, tt.want)
		}
	}
	c.Diagnosis.Model, c.Diagnosis.Content = c.Update.Content, false
	if _, err := wire.ModelOf(c); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("a directory: %v", err)
	}
}
