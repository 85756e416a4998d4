package wire

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"holdfast/cmd/internal/config"
	"holdfast/remediate"
	"holdfast/remediate/forest"
)

// Bounds of what updates bring as content.
const (
	archiveBytes  = 4 << 20
	archiveFiles  = 256
	playbookBytes = 16 << 10
)

// modelName is the model in an archive of content.
const modelName = "model.hfm"

// Content is what an update of content brought: a zip archive of rules/*.epl, playbooks/*.toml and model.hfm, or else one file of rules.
// Nil has nothing.
type Content struct {
	file *os.File
	all  *zip.Reader // nil where the file is rules
}

// OpenContent opens the content in force; that there is none is no error. A name in it that has no place is one: its maker meant
// something by it.
func OpenContent(c config.Config) (*Content, error) {
	if c.Update.Content == "" {
		return nil, nil
	}
	f, info, err := openRegular(filepath.Join(c.Update.Content, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	content := &Content{file: f}
	if content.all, err = archive(f, info.Size()); err != nil {
		f.Close()
		return nil, fmt.Errorf("content: %w", err)
	}
	return content, nil
}

// archive returns nil for what is no archive.
func archive(f *os.File, size int64) (*zip.Reader, error) {
	var magic [4]byte // of a file's header, or of the end of an archive without any (APPNOTE.TXT 4.3.7, 4.3.16)
	if _, err := f.ReadAt(magic[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic[:]) != "PK\x03\x04" && string(magic[:]) != "PK\x05\x06" {
		return nil, nil
	}
	if size > archiveBytes {
		return nil, fmt.Errorf("%d bytes, at most %d", size, archiveBytes)
	}
	all, err := zip.NewReader(f, size)
	if err != nil {
		return nil, err
	}
	if len(all.File) > archiveFiles {
		return nil, fmt.Errorf("%d files in it, at most %d", len(all.File), archiveFiles)
	}
	seen := map[string]bool{}
	for _, e := range all.File {
		if e.FileInfo().IsDir() {
			continue
		}
		if most := placed(e.Name); most == 0 || !e.Mode().IsRegular() || seen[e.Name] {
			return nil, fmt.Errorf("%.80q has no place in it, which is for rules/*.epl, playbooks/*.toml and %s, each once", e.Name, modelName)
		} else if e.UncompressedSize64 > uint64(most) {
			return nil, fmt.Errorf("%.80q: %d bytes, at most %d", e.Name, e.UncompressedSize64, most)
		}
		seen[e.Name] = true
	}
	return all, nil
}

// placed is how large a file of this name may be, 0 where it has no place.
func placed(name string) int {
	dir, base := path.Split(name)
	switch {
	case name == modelName:
		return forest.MaxBytes
	case dir == "rules/" && path.Ext(base) == ".epl":
		return ruleFileBytes
	case dir == "playbooks/" && path.Ext(base) == ".toml":
		return playbookBytes
	}
	return 0
}

// Close lets go of the content.
func (c *Content) Close() error {
	if c == nil {
		return nil
	}
	return c.file.Close()
}

// Rules reads the rules, by their names.
func (c *Content) Rules() (files []remediate.File, err error) {
	switch {
	case c == nil:
		return nil, nil
	case c.all == nil:
		text, err := bounded(c.file, ruleFileBytes)
		return []remediate.File{{Name: "current", Text: string(text)}}, err
	}
	names, err := fs.Glob(c.all, "rules/*.epl") // sorted, as directories are
	for _, name := range names {
		text, bad := c.read(name)
		if bad != nil {
			return nil, bad
		}
		files = append(files, remediate.File{Name: "content/" + path.Base(name), Text: string(text)})
	}
	return files, err
}

// Playbooks returns the directory of playbooks, nil where there is none.
func (c *Content) Playbooks() fs.FS {
	if c == nil || c.all == nil {
		return nil
	}
	dir, err := fs.Sub(c.all, "playbooks")
	if err != nil {
		return nil
	}
	return dir
}

// Model reads the model, nil where there is none.
func (c *Content) Model() ([]byte, error) {
	if c == nil || c.all == nil {
		return nil, nil
	}
	text, err := c.read(modelName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// read reads a file of the archive: its CRC-32 is checked at its end.
func (c *Content) read(name string) ([]byte, error) {
	f, err := c.all.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := bounded(f, placed(name))
	if err != nil {
		return nil, fmt.Errorf("content: %s: %w", name, err)
	}
	return text, nil
}

// ModelOf reads the model that a configuration names, nil where it names none: that of the content, or else a file.
func ModelOf(c config.Config) ([]byte, error) {
	if c.Diagnosis.Content {
		content, err := OpenContent(c)
		if err != nil {
			return nil, err
		}
		defer content.Close()
		if text, err := content.Model(); err != nil || text != nil {
			return text, err
		}
	}
	if c.Diagnosis.Model == "" {
		return nil, nil
	}
	f, _, err := openRegular(c.Diagnosis.Model)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := bounded(f, forest.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Diagnosis.Model, err)
	}
	return text, nil
}

// openRegular opens a file, and nothing that would be waited for.
func openRegular(name string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(name)
	return f, info, err
}

// bounded reads to the end, of at most so many bytes.
func bounded(f io.Reader, most int) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return text, err
}
