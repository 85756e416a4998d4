package wire

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"holdfast/cmd/internal/config"
	"holdfast/remediate"
)

// Bounds of what is read of rules.
const (
	ruleFileBytes = 256 << 10
	rulesBytes    = 1 << 20
)

// RuleFiles reads the rules that a configuration names: the *.epl of its directory by their names, then those of what an update of
// content brought. What is not there has none. What could be read comes with the error of what could not.
func RuleFiles(c config.Config) (files []remediate.File, err error) {
	names, err := filepath.Glob(filepath.Join(quoteGlob(c.Rules.Dir), "*.epl"))
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	slices.Sort(names)
	var problems []error
	total := 0
	take := func(f remediate.File, err error) {
		if total += len(f.Text); err == nil && (len(files) >= remediate.MaxFiles || total > rulesBytes) {
			err = fmt.Errorf("%s: more than %d files, or %d bytes in all", f.Name, remediate.MaxFiles, rulesBytes)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("rules: %w", err))
			return
		}
		files = append(files, f)
	}
	if c.Rules.Dir != "" {
		for _, path := range names {
			take(ruleFile(path))
		}
	}
	if c.Rules.Content {
		content, err := OpenContent(c)
		var brought []remediate.File
		if err == nil {
			brought, err = content.Rules()
			content.Close()
		}
		if err != nil {
			take(remediate.File{}, err)
		}
		for _, f := range brought {
			take(f, nil)
		}
	}
	if len(problems) > 8 {
		problems = problems[:8]
	}
	return files, errors.Join(problems...)
}

func ruleFile(path string) (remediate.File, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return remediate.File{}, err
	}
	defer f.Close()
	text, err := bounded(f, ruleFileBytes)
	if err != nil {
		return remediate.File{}, fmt.Errorf("%s: %w", path, err)
	}
	return remediate.File{Name: filepath.Base(path), Text: string(text)}, nil
}

// quoteGlob has a directory's name stand for itself in a pattern.
func quoteGlob(dir string) string {
	var out []byte
	for i := range len(dir) {
		switch dir[i] {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, dir[i])
	}
	return string(out)
}
