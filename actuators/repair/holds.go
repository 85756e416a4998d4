package repair

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
)

// Bounds of what is read of directories that others write.
const (
	mostFiles = 256
	fileBytes = 4 << 10
	whyBytes  = 100
)

// Switches are the files that say whether repairs may be done.
type Switches struct {
	OffFile  string // the kill switch; empty for none
	HoldsDir string // each file in it is a hold; its first line says why
	Systemd  string // where logind keeps what it knows: /run/systemd
}

// Off says why repairs are switched off: the file is there, whatever it is, or nobody can tell.
func (s Switches) Off() string {
	if s.OffFile == "" {
		return ""
	}
	_, err := os.Lstat(s.OffFile)
	switch {
	case err == nil:
		return s.OffFile + " is there"
	case errors.Is(err, fs.ErrNotExist):
		return ""
	}
	return err.Error()
}

// Holds says who asked for peace: a file in HoldsDir, or somebody who keeps the machine from shutting down by a lock of
// logind's in the mode block (org.freedesktop.login1(5), Inhibit).
func (s Switches) Holds() string {
	why := scan(s.HoldsDir, func(name string, text string) string {
		line, _, _ := strings.Cut(text, "\n")
		return strings.TrimSpace("held by " + printable(name) + " " + printable(line))
	})
	if why != "" {
		return why
	}
	return scan(filepath.Join(s.Systemd, "inhibit"), func(name, text string) string {
		lock := variables(text)
		if lock["MODE"] != "block" || !strings.Contains(":"+lock["WHAT"]+":", ":shutdown:") {
			return ""
		}
		return strings.TrimSpace("a lock keeps the machine from shutting down: " + printable(lock["WHO"]) + " " + printable(lock["WHY"]))
	})
}

// Sessions says who works at the device: a session of a user that is not closing (sd-login(3); greeters, and what runs
// without anybody, are none).
func (s Switches) Sessions() string {
	return scan(filepath.Join(s.Systemd, "sessions"), func(name, text string) string {
		session := variables(text)
		if !strings.HasPrefix(session["CLASS"], "user") || session["STATE"] == "closing" {
			return ""
		}
		return "a user has a session: " + printable(session["USER"]+" "+session["TTY"])
	})
}

// scan asks about each name in a directory, and returns the first answer. What is no plain file has no text. A directory that
// is not there has none; one that cannot be read, or has more names than are looked at, is an answer itself.
func scan(dir string, ask func(name, text string) string) string {
	if dir == "" {
		return ""
	}
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	defer d.Close()
	entries, err := d.ReadDir(mostFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Sprintf("read %s: %v", dir, err)
	}
	if len(entries) > mostFiles {
		return dir + " has more files than are looked at"
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		text, err := head(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has gone meanwhile
		}
		if err != nil {
			return err.Error()
		}
		if why := ask(e.Name(), text); why != "" {
			return why
		}
	}
	return ""
}

// head reads the beginning of a plain file, and of anything else nothing: a pipe is not waited for (logind has some beside
// its files), and a link is not followed.
func head(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) { // a link, a socket
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, fileBytes))
	return string(text), err
}

// variables reads lines of NAME=value.
func variables(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && len(all) < 64 {
			all[name] = value
		}
	}
	return all
}

// printable is what others wrote, fit for a log.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > whyBytes {
		s = strings.ToValidUTF8(s[:whyBytes], "") + "…"
	}
	return strings.TrimSpace(s)
}
