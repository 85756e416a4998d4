package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Source is where a repository is read from: a directory, or the URL of a web server.
type Source struct {
	dir    string
	base   *url.URL
	client *http.Client
}

// NewSource takes a directory, or a URL that begins with http:// or https://.
func NewSource(where string) (*Source, error) {
	if !strings.HasPrefix(where, "http://") && !strings.HasPrefix(where, "https://") {
		if _, err := os.Stat(filepath.Join(where, metadataDir)); err != nil {
			return nil, fmt.Errorf("%s: %w", where, ErrNone)
		}
		return &Source{dir: where}, nil
	}
	base, err := url.Parse(where)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("%w: %.200q is no URL", ErrUsage, where)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 30 * time.Second
	return &Source{base: base, client: &http.Client{Transport: t}}, nil
}

// Remote reports whether it is a web server.
func (s *Source) Remote() bool { return s.base != nil }

// open reads a file from an offset on; with a length of 0 to its end. What is not there is fs.ErrNotExist.
func (s *Source) open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if s.base != nil {
		return s.get(ctx, name, offset, length)
	}
	f, err := os.Open(filepath.Join(s.dir, filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (s *Source) get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(name).String(), nil)
	if err != nil {
		return nil, err
	}
	want := http.StatusOK
	if length > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
		want = http.StatusPartialContent
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	began := fmt.Sprintf("bytes %d-", offset)
	switch {
	case res.StatusCode == http.StatusNotFound, res.StatusCode == http.StatusGone:
		err = fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case res.StatusCode == http.StatusOK && length > 0:
		err = fmt.Errorf("%s: the server does not answer requests for a part of a file: devices could not resume", name)
	case res.StatusCode != want, length > 0 && !strings.HasPrefix(res.Header.Get("Content-Range"), began):
		err = fmt.Errorf("%s: the server answers %d", name, res.StatusCode)
	}
	if err != nil {
		res.Body.Close()
		return nil, err
	}
	return res.Body, nil
}

var errLong = errors.New("it is longer than it may be")

// fetch reads a file whole.
func (s *Source) fetch(ctx context.Context, name string, most int64) ([]byte, error) {
	in, err := s.open(ctx, name, 0, 0)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(raw)) > most {
		err = errLong
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return raw, nil
}
