package board

import (
	"fmt"
	"io"
)

// CheckName reports whether Files and Dir take the name: 1 to 100 of [A-Za-z0-9_.-], no leading dot. Names that begin
// with a dot are the drivers' own temporary files.
func CheckName(name string) error {
	if name == "" || len(name) > 100 || name[0] == '.' {
		return fmt.Errorf("file name %.120q: want 1 to 100 of letters, digits, '_', '.', '-', no leading dot", name)
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return fmt.Errorf("file name %q: character %q", name, c)
		}
	}
	return nil
}

// Files keeps small documents whole: whatever the power does, a document read back is one that was written, either the
// last or, if the cut came before WriteFile returned, the one before. Names are those CheckName takes.
type Files interface {
	// ReadFile returns the document, or an error that is fs.ErrNotExist. A document longer than limitBytes is an error,
	// and is not read.
	ReadFile(name string, limitBytes int64) ([]byte, error)
	// WriteFile replaces the document: temporary file, fsync, rename, fsync of the directory.
	WriteFile(name string, data []byte) error
	// Remove deletes the document durably. A document that is not there is not an error.
	Remove(name string) error
}

// A File is one append-only file of a Dir. It is an alias of a literal so that a leaf can declare the same type without
// importing this package.
type File = interface {
	io.ReaderAt
	io.Writer // appends
	io.Closer
	Sync() error
}

// A Dir is a flat directory of append-only files. Nothing is durable before it is synced: a file's bytes by File.Sync,
// its name (or its absence) by Dir.Sync.
type Dir interface {
	// Open opens the file for reading and appending, and creates it when it is not there.
	Open(name string) (File, error)
	// List returns the names in lexical order.
	List() ([]string, error)
	// Remove deletes a file.
	Remove(name string) error
	// Sync makes the names durable.
	Sync() error
}
