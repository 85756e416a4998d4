package fetch

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strings"
)

const placeBytes = 2000

// A place is where a repository is: a URL or an absolute directory.
type place struct {
	url *url.URL // nil for a directory
	dir string
}

// CheckBase reports whether text is a base that Open takes, whatever is allowed.
func CheckBase(text string) error {
	_, err := parsePlace(text)
	return err
}

// parsePlace never repeats the text in an error: there may be a password in it.
func parsePlace(text string) (place, error) {
	switch {
	case len(text) > placeBytes:
		return place{}, fmt.Errorf("repository: %d bytes, at most %d", len(text), placeBytes)
	case strings.HasPrefix(text, "/"):
		return parseDir(text)
	case strings.HasPrefix(text, "https://"), strings.HasPrefix(text, "http://"), strings.HasPrefix(text, "file:///"):
	default:
		return place{}, errors.New("repository: wants https://, http://, file:/// or an absolute path")
	}
	u, err := url.Parse(text)
	if err != nil {
		var parse *url.Error
		if errors.As(err, &parse) {
			err = parse.Err
		}
		return place{}, fmt.Errorf("repository: %w", err)
	}
	if u.Scheme == "file" {
		if u.RawQuery != "" || u.Fragment != "" {
			return place{}, errors.New("repository: a directory has no query and no fragment")
		}
		return parseDir(u.Path)
	}
	if err := checkHost(u); err != nil {
		return place{}, fmt.Errorf("repository: %w", err)
	}
	// What is escaped without need may be a slash or a dot that another reader of the URL takes for one.
	if u.Fragment != "" || u.RawPath != "" || !tidy(u.Path) {
		return place{}, fmt.Errorf("repository %s: wants a path without dot, dot-dot, doubled slashes and fragment", plain(u))
	}
	return place{url: u}, nil
}

func parseDir(dir string) (place, error) {
	if !tidy(dir) {
		return place{}, fmt.Errorf("repository %.200q: wants a path without dot, dot-dot and doubled slashes", dir)
	}
	return place{dir: path.Clean(dir)}, nil
}

// tidy tells whether an absolute path means the same to everybody. One slash at the end is no matter.
func tidy(p string) bool {
	for _, c := range []byte(p) {
		if c < ' ' || c == 0x7f || c == '\\' {
			return false
		}
	}
	p = strings.TrimSuffix(p, "/")
	return p == "" || p[0] == '/' && path.Clean(p) == p
}

func checkHost(u *url.URL) error {
	if u.Hostname() == "" {
		return errors.New("the URL has no host")
	}
	return nil
}

// allowed returns the entry of the list that p is below of, or p itself where an empty list allows it.
func (p place) allowed(list []string) (place, error) {
	for i, text := range list {
		entry, err := parsePlace(text)
		if err != nil {
			return place{}, fmt.Errorf("allowed repositories, entry %d: %w", i+1, err)
		}
		if p.within(entry) {
			return entry, nil
		}
	}
	if p.url == nil {
		return place{}, fmt.Errorf("repository %s: not a directory that is allowed", p.dir)
	}
	if len(list) > 0 {
		return place{}, fmt.Errorf("repository %s: not below one that is allowed", plain(p.url))
	}
	return p, nil
}

func (p place) within(q place) bool {
	if p.url == nil || q.url == nil {
		return p.url == q.url && below(p.dir, q.dir)
	}
	return p.url.Scheme == q.url.Scheme && host(p.url) == host(q.url) && below(p.url.Path, q.url.Path)
}

// below tells whether path p is q or lies below it.
func below(p, q string) bool {
	p, q = strings.TrimSuffix(p, "/"), strings.TrimSuffix(q, "/")
	return p == q || strings.HasPrefix(p, q+"/")
}

// host returns host and port as they are compared; the port of the scheme is left out.
func host(u *url.URL) string {
	name, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return name
	}
	return net.JoinHostPort(name, port)
}

// plain returns a URL for people: without password and query, and not longer than a line.
func plain(u *url.URL) string {
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return clip(bare.String())
}

const textBytes = 240

// clip shortens what may come from outside.
func clip(s string) string {
	if len(s) > textBytes {
		return strings.ToValidUTF8(s[:textBytes], "") + "…"
	}
	return s
}
