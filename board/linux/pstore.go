package linux

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"holdfast/board"
)

// Bounds of what is told of crashes, and of what is read for that: ramoops keeps some KiB to some hundred KiB a record.
const (
	crashTail    = 8 << 10
	crashBytes   = 1 << 20
	crashesTold  = 4
	crashEntries = 256
)

// pstoreDirs are where the kernel's last words are: as the kernel shows them (Documentation/admin-guide/ramoops.rst), and
// where systemd-pstore.service moves them.
var pstoreDirs = []string{"sys/fs/pstore", "var/lib/systemd/pstore"}

// Crashes returns what the kernel left of its last crashes, at most 4, newest first. Where it cannot be read that is an
// error, together with what could: with kernel.dmesg_restrict=1 the kernel's own files want CAP_SYSLOG; those that systemd
// moved are root's.
func Crashes(root string) ([]board.Crash, error) {
	var all []board.Crash
	var errs []error
	for _, dir := range pstoreDirs {
		files, err := dumps(filepath.Join(root, dir), 2)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, file := range files {
			c, err := readCrash(file)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			c.Name, _ = filepath.Rel(filepath.Join(root, dir), file) // it is below
			c.Name = oneLine(c.Name)
			if !slices.ContainsFunc(all, func(o board.Crash) bool { return o.ID == c.ID }) { // it is just being moved
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b board.Crash) int { return b.Written.Compare(a.Written) })
	return all[:min(len(all), crashesTold)], errors.Join(errs...)
}

// dumps lists the files of a directory that have the end of a kernel's log. systemd-pstore makes a directory for a crash
// whose record has several parts, and dmesg.txt of them.
func dumps(dir string, depth int) (files []string, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(crashEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	whole := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "dmesg.txt" })
	var errs []error
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir() && depth > 0:
			below, err := dumps(name, depth-1)
			files, errs = append(files, below...), append(errs, err)
		case !e.Type().IsRegular(), strings.HasSuffix(name, ".enc.z"): // the kernel could not unpack it
		case whole && e.Name() == "dmesg.txt", !whole && strings.HasPrefix(e.Name(), "dmesg-"):
			files = append(files, name)
		}
	}
	slices.Sort(files)
	return files[:min(len(files), crashEntries)], errors.Join(errs...)
}

func readCrash(name string) (c board.Crash, err error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return c, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return c, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, crashBytes))
	if err != nil {
		return c, err
	}
	sum := sha256.Sum256(raw)
	c = board.Crash{ID: hex.EncodeToString(sum[:8]), Written: info.ModTime().UTC(), Bytes: max(info.Size(), int64(len(raw)))}
	c.Reason, c.Tail = parseDump(string(raw))
	return c, nil
}

// parseDump takes the end of a dump, in which control characters are spaces and what follows the words "command line" is
// left out: it may hold what is nobody's business. Anybody may have written the text: the kernel logs the names that USB
// devices give themselves. The first line is "Panic#1 Part1" or like that (fs/pstore/platform.c).
func parseDump(text string) (reason, tail string) {
	first, _, _ := strings.Cut(text, "\n")
	if word, rest, ok := strings.Cut(first, "#"); ok && len(word) <= 16 && strings.Contains(rest, "Part") && !strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) }) {
		reason = word
	}
	text = strings.ToValidUTF8(text, "?")
	if len(text) > crashTail {
		text = text[len(text)-crashTail:]
		if _, whole, ok := strings.Cut(text, "\n"); ok {
			text = whole // lines
		}
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if end := afterCommandLine(line); end > 0 {
			line = line[:end] + " (left out)\n"
		}
		b.WriteString(strings.Map(func(r rune) rune {
			if r == '\n' || r == '\t' || unicode.IsPrint(r) && r != utf8.RuneError {
				return r
			}
			return ' '
		}, line))
	}
	return reason, strings.TrimRight(b.String(), "\n ")
}

// afterCommandLine returns where in a line the words "command line" end; 0 where they are not. Text is not folded before:
// that may change its length.
func afterCommandLine(line string) int {
	const words = "command line"
	for end := len(words); end <= len(line); end++ {
		if strings.EqualFold(line[end-len(words):end], words) {
			return end
		}
	}
	return 0
}

// oneLine is a name fit for a line of text.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s[:min(len(s), 200)])
}
