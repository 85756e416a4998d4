package wire

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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

// RuleFiles reads the rules that a configuration names: the *.epl of its directory by their names, then what an update of
// content brought. What is not there has none. What could be read comes with the error of what could not.
func RuleFiles(c config.Config) (files []remediate.File, err error) {
	names, err := filepath.Glob(filepath.Join(quoteGlob(c.Rules.Dir), "*.epl"))
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	slices.Sort(names)
	if c.Rules.Content {
		names = append(names, filepath.Join(c.Update.Content, "current"))
	}
	var problems []error
	total := 0
	for i, path := range names {
		text, err := ruleFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if total += len(text); err == nil && (i >= remediate.MaxFiles || total > rulesBytes) {
			err = fmt.Errorf("rules: %s: more than %d files, or %d bytes in all", path, remediate.MaxFiles, rulesBytes)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		files = append(files, remediate.File{Name: filepath.Base(path), Text: text})
	}
	if len(problems) > 8 {
		problems = problems[:8]
	}
	return files, errors.Join(problems...)
}

func ruleFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("rules: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("rules: %s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("rules: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, ruleFileBytes+1))
	if err == nil && len(text) > ruleFileBytes {
		err = fmt.Errorf("%s: more than %d bytes", path, ruleFileBytes)
	}
	if err != nil {
		return "", fmt.Errorf("rules: %w", err)
	}
	return string(text), nil
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
