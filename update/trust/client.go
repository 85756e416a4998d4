package trust

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

// A Client brings what is trusted up to date, once: the time it compares with is fixed when it is made (TUF 5.1). It has
// one owner.
type Client struct {
	state State
	now   time.Time
	lost  []error

	root      *root
	roots     int      // walked
	newest    bool     // the repository has no root above this one
	timestamp *listing // trusted, perhaps out of date
	fresh     bool     // this timestamp was confirmed by what was given
	snapshot  *listing // trusted, perhaps not the one the timestamp names
	current   bool     // it is
	roles     map[string]*role
	passed    map[string]bool  // delegated roles that were refused, and are not wanted again
	why       map[string]error // a role is not among roles
}

// A role is the verified file of targets or of a delegated role.
type role struct {
	*targets
	parent string // empty for targets
	depth  int
}

// New begins with what was trusted before. An error means that the root itself cannot be used, and that there is nothing
// to begin with: take an older copy, or the one in the image. Other parts that cannot be used are dropped, see Lost.
//
// Where all parts are still good, Target can be asked at once, without a connection.
func New(s State, o Options) (*Client, error) {
	c := &Client{state: s, passed: map[string]bool{}}
	c.state.Delegated = maps.Clone(s.Delegated)
	c.now = o.Now
	if s.Clock.After(c.now) {
		c.now = s.Clock
	}
	c.state.Clock = c.now
	d, err := open(s.Root, rootBytes)
	if err == nil {
		c.root, err = parseRoot(d)
	}
	if err == nil {
		err = c.root.self.check(d)
	}
	if err != nil {
		return nil, fmt.Errorf("trusted root: %w", err)
	}
	c.reload()
	return c, nil
}

// reload looks at what is kept with the eyes of the root in force. Timestamp and snapshot stand or fall together: when
// the key of either was replaced, whoever had it may have counted the other up (TUF 5.3.11).
func (c *Client) reload() {
	timestamp, e1 := kept(c.state.Timestamp, timestampBytes, c.root.timestamp, parseTimestamp)
	snapshot, e2 := kept(c.state.Snapshot, snapshotBytes, c.root.snapshot, parseSnapshot)
	if err := errors.Join(named("kept timestamp", e1), named("kept snapshot", e2)); err != nil {
		c.lost = append(c.lost, err)
		c.state.Timestamp, c.state.Snapshot = nil, nil
		timestamp, snapshot = nil, nil
	}
	c.timestamp, c.snapshot = timestamp, snapshot
	c.forget()
	c.fill()
}

// kept reads a document that was verified before. It may have expired: it still says what came before.
func kept[T any](raw []byte, most int64, signers quorum, parse func(*document) (*T, error)) (*T, error) {
	if raw == nil {
		return nil, nil
	}
	d, err := open(raw, most)
	if err != nil {
		return nil, err
	}
	if err := signers.check(d); err != nil {
		return nil, err
	}
	return parse(d)
}

// forget gives up what was vouched for by a timestamp or snapshot that is no longer the one in force.
func (c *Client) forget() {
	c.current, c.roles, c.why = false, map[string]*role{}, map[string]error{}
}

func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Lost says which parts of the State could not be used, for the log: they decayed, or a newer root took their keys away.
// Nil when all could.
func (c *Client) Lost() error { return errors.Join(c.lost...) }

// State is what is trusted now. The slices are those that New and Give were handed.
func (c *Client) State() State {
	s := c.state
	s.Delegated = maps.Clone(s.Delegated)
	return s
}

// A want is a file that is to come.
type want struct {
	file string
	role string // "", "timestamp", "snapshot", "targets" or a delegated one; "" is root
	most int64
	meta meta
	by   quorum

	parent string
	depth  int
}

// Want names the next file, below the repository's directory of metadata, and the number of bytes after which the reader
// may stop. When ok is false all is verified, or refused for good. After an error of Give the same file is wanted again,
// since it may be had elsewhere; only a delegated role is passed over.
func (c *Client) Want() (file string, most int64, ok bool) {
	w := c.want()
	return w.file, w.most, w.file != ""
}

func (c *Client) want() want {
	switch {
	case !c.newest && c.roots < mostRoots:
		return want{file: fmt.Sprintf("%d.root.json", c.root.Version+1), most: rootBytes}
	case !c.fresh:
		return want{file: "timestamp.json", role: "timestamp", most: timestampBytes, by: c.root.timestamp}
	}
	return c.below(c.passed)
}

// Absent says that the wanted file does not exist. Above the last root there is none, and that is well unless the last
// root has expired; any other file is missed.
func (c *Client) Absent() error {
	w := c.want()
	switch {
	case w.file == "":
		return errors.New("no file is wanted")
	case w.role == "":
		if err := c.root.expired(c.now); err != nil {
			return fmt.Errorf("%d.root.json: %w", c.root.Version, err)
		}
		c.newest = true
		return nil
	}
	return c.refuse(w, fmt.Errorf("%w: the repository has no such file", ErrNotFound))
}

// Give verifies the wanted file. After nil, what State returns is to be kept before anything else is asked for. After an
// error everything is as it was. raw is kept: the caller does not write to it any more.
func (c *Client) Give(raw []byte) error {
	w := c.want()
	if w.file == "" {
		return errors.New("no file is wanted")
	}
	var err error
	switch w.role {
	case "":
		err = c.giveRoot(raw)
	case "timestamp":
		err = c.giveTimestamp(w, raw)
	case "snapshot":
		err = c.takeSnapshot(w, raw)
	default:
		err = c.takeRole(w, raw)
	}
	if err != nil {
		return c.refuse(w, err)
	}
	c.fill()
	return nil
}

// refuse remembers why a role is not there.
func (c *Client) refuse(w want, err error) error {
	err = fmt.Errorf("%s: %w", w.file, err)
	if w.role == "snapshot" || w.parent != "" || w.role == "targets" {
		c.why[w.role] = err
	}
	if w.parent != "" {
		c.passed[w.role] = true
	}
	return err
}

// giveRoot takes root N+1, which N and N+1 both sign (TUF 5.3.4 to 5.3.8). That it has expired is no fault while there
// may be one above it.
func (c *Client) giveRoot(raw []byte) error {
	d, err := open(raw, rootBytes)
	if err != nil {
		return err
	}
	if err := c.root.self.check(d); err != nil {
		return fmt.Errorf("by the keys of root %d: %w", c.root.Version, err)
	}
	next, err := parseRoot(d)
	if err != nil {
		return err
	}
	if next.Version <= c.root.Version {
		return fmt.Errorf("%w: version %d, %d is trusted", ErrRollback, next.Version, c.root.Version)
	}
	if next.Version != c.root.Version+1 {
		return fmt.Errorf("%w: version %d, %d comes next", ErrMismatch, next.Version, c.root.Version+1)
	}
	if err := next.self.check(d); err != nil {
		return fmt.Errorf("by its own keys: %w", err)
	}
	c.root, c.state.Root = next, raw
	c.roots++
	c.reload()
	return nil
}

// giveTimestamp takes a timestamp (TUF 5.4). One of the same version is the one that is trusted, whatever is in it.
func (c *Client) giveTimestamp(w want, raw []byte) error {
	if err := c.root.expired(c.now); err != nil {
		return fmt.Errorf("%d.root.json: %w", c.root.Version, err)
	}
	d, err := open(raw, w.most)
	if err != nil {
		return err
	}
	if err := w.by.check(d); err != nil {
		return err
	}
	next, err := parseTimestamp(d)
	if err != nil {
		return err
	}
	if c.timestamp != nil {
		if next.Version < c.timestamp.Version {
			return fmt.Errorf("%w: version %d, %d is trusted", ErrRollback, next.Version, c.timestamp.Version)
		}
		if next.Version == c.timestamp.Version {
			next, raw = c.timestamp, c.state.Timestamp
		} else if a, b := next.names(), c.timestamp.names(); a < b {
			return fmt.Errorf("%w: it names snapshot %d, %d was named before", ErrRollback, a, b)
		}
	}
	if c.snapshot != nil && next.names() < c.snapshot.Version {
		return fmt.Errorf("%w: it names snapshot %d, %d is trusted", ErrRollback, next.names(), c.snapshot.Version)
	}
	if err := next.expired(c.now); err != nil {
		return err
	}
	if c.fresh = true; next != c.timestamp {
		c.timestamp, c.state.Timestamp = next, raw
		c.forget()
	}
	return nil
}

// names returns the version of the snapshot that a timestamp names.
func (t *listing) names() int64 { return t.Meta["snapshot.json"].Version }

// takeSnapshot takes the snapshot that the timestamp names (TUF 5.5): the one that is kept, or one that was given.
func (c *Client) takeSnapshot(w want, raw []byte) error {
	next, err := verified(w, raw, parseSnapshot)
	if err != nil {
		return err
	}
	if next.Version != w.meta.Version {
		return fmt.Errorf("%w: version %d, %d is named", ErrMismatch, next.Version, w.meta.Version)
	}
	if c.snapshot != nil {
		for file, before := range c.snapshot.Meta {
			after, listed := next.Meta[file]
			if !listed {
				return fmt.Errorf("%w: it does not list %s any more", ErrRollback, file)
			}
			if after.Version < before.Version {
				return fmt.Errorf("%w: it lists %s of version %d, %d is trusted", ErrRollback, file, after.Version, before.Version)
			}
		}
	}
	if err := next.expired(c.now); err != nil {
		return err
	}
	c.snapshot, c.state.Snapshot, c.current = next, raw, true
	return nil
}

// verified is what a file that another one vouches for goes through before it is looked into.
func verified[T any](w want, raw []byte, parse func(*document) (*T, error)) (*T, error) {
	if err := w.meta.check(raw); err != nil {
		return nil, err
	}
	d, err := open(raw, w.most)
	if err != nil {
		return nil, err
	}
	if err := w.by.check(d); err != nil {
		return nil, err
	}
	return parse(d)
}

// fill takes from what is kept whatever is still the right thing, so that only what is new is fetched.
func (c *Client) fill() {
	tried := maps.Clone(c.passed)
	for w := c.below(tried); w.file != "" && !tried[w.role]; w = c.below(tried) {
		tried[w.role] = true
		var err error
		switch w.role {
		case "snapshot":
			err = keep(w, c.state.Snapshot, c.takeSnapshot)
		case "targets":
			err = keep(w, c.state.Targets, c.takeRole)
		default:
			err = keep(w, c.state.Delegated[w.role], c.takeRole)
		}
		if err != nil {
			c.why[w.role] = err
		}
	}
	if c.want().file == "" {
		gone := func(name string, _ []byte) bool { return c.why[name] == nil && c.roles[name] == nil }
		maps.DeleteFunc(c.state.Delegated, gone)
	}
}

func keep(w want, raw []byte, take func(want, []byte) error) error {
	if raw == nil {
		return fmt.Errorf("%s: %w: it was not fetched yet", w.file, ErrNotFound)
	}
	return named("kept "+w.file, take(w, raw))
}
