package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"holdfast/cmd/internal/config"
)

// What the package installs changes no default, and each line that is there to be uncommented is one the reader takes.
func TestTheInstalledFileIsTheDefaultsAndItsExamplesAreTrue(t *testing.T) {
	text, err := os.ReadFile("../../../packaging/holdfast.toml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Parse("holdfast.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, config.Default()) {
		t.Errorf("as installed = %+v, want the defaults", got)
	}
	example := regexp.MustCompile(`(?m)^# ([a-z_]+ *= )`)
	if n := len(example.FindAll(text, -1)); n < 7 {
		t.Fatalf("%d examples: the pattern is wrong", n)
	}
	got, err = config.Parse("holdfast.toml", example.ReplaceAll(text, []byte("$1")))
	if err != nil {
		t.Fatalf("uncommented: %v", err)
	}
	if len(got.Broker.URLs) != 1 || got.ID == "" || len(got.Units.Restart) != 1 {
		t.Errorf("uncommented = %+v", got)
	}
}

// What the documents show of a configuration is one that is taken.
func TestTheConfigurationsInTheDocumentsAreTaken(t *testing.T) {
	pages, err := filepath.Glob("../../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	block := regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllSubmatch(text, -1) {
			found++
			if _, err := config.Parse(page, m[1]); err != nil {
				t.Errorf("%s:\n%s%v", page, m[1], err)
			}
		}
	}
	if found < 2 {
		t.Errorf("%d configurations found: the pattern is wrong", found)
	}
}
