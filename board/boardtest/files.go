// Package boardtest is a driver: it holds the contracts of the board's parts as test functions that every driver calls.
package boardtest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"holdfast/board"
)

var badNames = []string{"", ".", "..", ".hidden", "a/b", "../a", "/a", "a\x00b", "a b", "ü", strings.Repeat("n", 101)}

// TestFiles is the contract of board.Files. open returns an empty store.
func TestFiles(t *testing.T, open func(t *testing.T) board.Files) {
	t.Run("a document comes back as it was written last", func(t *testing.T) {
		f := open(t)
		for _, doc := range []string{"first", "second, which is longer", "", "4"} {
			if err := f.WriteFile("doc.json", []byte(doc)); err != nil {
				t.Fatal(err)
			}
			if got, err := f.ReadFile("doc.json", 100); err != nil || string(got) != doc {
				t.Fatalf("ReadFile = %q, %v, want %q", got, err, doc)
			}
		}
	})
	t.Run("a document that is not there", func(t *testing.T) {
		f := open(t)
		if _, err := f.ReadFile("doc", 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile: %v, want fs.ErrNotExist", err)
		}
		if err := f.Remove("doc"); err != nil {
			t.Errorf("Remove: %v, want nil", err)
		}
	})
	t.Run("a removed document is not there", func(t *testing.T) {
		f := open(t)
		if err := errors.Join(f.WriteFile("doc", []byte("x")), f.WriteFile("other", []byte("y")), f.Remove("doc")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadFile("doc", 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile: %v, want fs.ErrNotExist", err)
		}
		if got, err := f.ReadFile("other", 100); err != nil || string(got) != "y" {
			t.Errorf("ReadFile(other) = %q, %v, want y", got, err)
		}
	})
	t.Run("the limit holds to the byte", func(t *testing.T) {
		f := open(t)
		if err := f.WriteFile("doc", make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if got, err := f.ReadFile("doc", 100); err != nil || len(got) != 100 {
			t.Errorf("limit 100: %d bytes, %v", len(got), err)
		}
		if got, err := f.ReadFile("doc", 99); err == nil || errors.Is(err, fs.ErrNotExist) || got != nil {
			t.Errorf("limit 99: %d bytes, %v, want an error", len(got), err)
		}
	})
	t.Run("what is written is copied", func(t *testing.T) {
		f := open(t)
		doc := []byte("abc")
		if err := f.WriteFile("doc", doc); err != nil {
			t.Fatal(err)
		}
		doc[0] = 'X'
		got, err := f.ReadFile("doc", 10)
		if err != nil || string(got) != "abc" {
			t.Fatalf("ReadFile = %q, %v, want abc", got, err)
		}
		got[0] = 'Y'
		if got, err := f.ReadFile("doc", 10); err != nil || string(got) != "abc" {
			t.Errorf("ReadFile = %q, %v, want abc", got, err)
		}
	})
	t.Run("names are flat", func(t *testing.T) {
		f := open(t)
		for _, name := range badNames {
			if err := f.WriteFile(name, nil); err == nil {
				t.Errorf("WriteFile(%q) succeeded", name)
			}
			if _, err := f.ReadFile(name, 1); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("ReadFile(%q): %v, want the name refused", name, err)
			}
			if err := f.Remove(name); err == nil {
				t.Errorf("Remove(%q) succeeded", name)
			}
		}
	})
}

// TestDir is the contract of board.Dir. open returns an empty directory.
func TestDir(t *testing.T, open func(t *testing.T) board.Dir) {
	t.Run("a file grows at its end, also when it is opened again", func(t *testing.T) {
		d := open(t)
		for _, part := range []string{"one", "two"} {
			appendTo(t, d, "log", part)
		}
		file, err := d.Open("log")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		buf := make([]byte, 10)
		if n, err := file.ReadAt(buf, 0); n != 6 || err != io.EOF || string(buf[:n]) != "onetwo" {
			t.Errorf("ReadAt(0) = %q, %v, want onetwo, EOF", buf[:n], err)
		}
		if n, err := file.ReadAt(buf[:2], 2); n != 2 || err != nil || string(buf[:n]) != "et" {
			t.Errorf("ReadAt(2) = %q, %v, want et", buf[:n], err)
		}
		if n, err := file.ReadAt(buf, 6); n != 0 || err != io.EOF {
			t.Errorf("ReadAt(6) = %d, %v, want 0, EOF", n, err)
		}
		if n, err := file.ReadAt(buf, 600); n != 0 || err != io.EOF {
			t.Errorf("ReadAt(600) = %d, %v, want 0, EOF", n, err)
		}
		if _, err := file.Write([]byte("!")); err != nil {
			t.Fatal(err)
		}
		if n, err := file.ReadAt(buf, 4); err != io.EOF || string(buf[:n]) != "wo!" {
			t.Errorf("ReadAt(4) after Write = %q, %v, want wo!, EOF", buf[:n], err)
		}
	})
	t.Run("List is in lexical order", func(t *testing.T) {
		d := open(t)
		if names, err := d.List(); err != nil || len(names) != 0 {
			t.Fatalf("List of an empty directory = %q, %v", names, err)
		}
		for _, name := range []string{"b", "a-2", "c", "a-10"} {
			appendTo(t, d, name, name)
		}
		if names, err := d.List(); err != nil || !slices.Equal(names, []string{"a-10", "a-2", "b", "c"}) {
			t.Errorf("List = %q, %v", names, err)
		}
		if err := errors.Join(d.Remove("b"), d.Sync()); err != nil {
			t.Fatal(err)
		}
		if names, err := d.List(); err != nil || !slices.Equal(names, []string{"a-10", "a-2", "c"}) {
			t.Errorf("List after Remove = %q, %v", names, err)
		}
		if err := d.Remove("b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Remove of what is gone: %v, want fs.ErrNotExist", err)
		}
	})
	t.Run("a removed file that is open can be read to its end", func(t *testing.T) {
		d := open(t)
		appendTo(t, d, "log", "text")
		file, err := d.Open("log")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := d.Remove("log"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 4)
		if n, err := file.ReadAt(buf, 0); n != 4 || (err != nil && err != io.EOF) || !bytes.Equal(buf, []byte("text")) {
			t.Errorf("ReadAt = %q, %v, want text", buf[:n], err)
		}
	})
	t.Run("names are flat", func(t *testing.T) {
		d := open(t)
		for _, name := range badNames {
			if file, err := d.Open(name); err == nil {
				file.Close()
				t.Errorf("Open(%q) succeeded", name)
			}
			if err := d.Remove(name); err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Remove(%q): %v, want the name refused", name, err)
			}
		}
	})
}

func appendTo(t *testing.T, d board.Dir, name, text string) {
	t.Helper()
	file, err := d.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := file.Write([]byte(text))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil || n != len(text) {
		t.Fatalf("append to %s: %d bytes, %v", name, n, err)
	}
}
