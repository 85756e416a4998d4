package trust

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast/board/strict"
)

// A Kind is what a release replaces.
type Kind string

// The kinds.
const (
	System  Kind = "system"  // images of a slot; what a release without a kind is
	Agent   Kind = "agent"   // the program of the agent
	Content Kind = "content" // rules, models, scripts
)

// A Release is what its signers say about a target: the member custom, read strictly.
type Release struct {
	Kind       Kind
	Compatible []string // kinds of boards, 1 to 32
	Seq        int64    // from 1; a device goes up
	Floor      int64    // security_floor, 1 to Seq: once this release is committed, nothing below is taken; 0 for content
	Name       string   // name/version
	From       []string // releases from which there is a delta, at most 64
	Wave       []Wave   // at least one, but for content; none means at once
	MinAgent   Version  // zero for content that does not say
	Issued     time.Time
	Arch       string // of an agent's program, such as armv7

	// DowngradeMaxSeq is the permit to go down: a device that runs at most this Seq may take the release although it runs a
	// higher one than Seq. 0 is no permit.
	DowngradeMaxSeq int64
}

// A Wave opens a release to a part of the fleet.
type Wave struct {
	After    time.Time
	Permille int // 0 to 1000, never less than in the one before
}

// Bounds of custom.
const (
	customBytes     = 8 << 10
	mostCompatible  = 32
	mostFrom        = 64
	mostWaves       = 64
	partBytes       = 64 // of the halves of a release's name, of a board's kind, of an architecture
	versionLimit    = 1 << 16
	integerLimit    = 1 << 53
	compatibleRunes = "._-+~,"
)

type releaseText struct {
	Kind            string     `json:"kind"`
	Compatible      []string   `json:"compatible"`
	Seq             int64      `json:"seq"`
	Floor           int64      `json:"security_floor"`
	Name            string     `json:"release"`
	From            []string   `json:"from"`
	Wave            []waveText `json:"wave"`
	MinAgent        string     `json:"min_agent"`
	Issued          date       `json:"issued"`
	Arch            string     `json:"arch"`
	DowngradeMaxSeq int64      `json:"downgrade_max_seq"`
}

type waveText struct {
	After    date `json:"after"`
	Permille *int `json:"permille"`
}

// members says for each kind which members there must be (2) and which there may be (1). Any other is refused: what a
// device does not understand, or what does nothing, is not to be signed.
var members = map[Kind]map[string]int{
	System: {"kind": 1, "compatible": 2, "seq": 2, "security_floor": 2, "release": 2, "from": 1, "wave": 2, "min_agent": 2,
		"issued": 2, "downgrade_max_seq": 1},
	Agent: {"kind": 2, "compatible": 2, "seq": 2, "security_floor": 2, "release": 2, "from": 1, "wave": 2, "min_agent": 2,
		"issued": 2, "downgrade_max_seq": 1, "arch": 2},
	Content: {"kind": 2, "compatible": 2, "seq": 2, "release": 2, "wave": 1, "min_agent": 1, "issued": 2},
}

// Release reads what is said about a target. An error is ErrFormat; it is ErrType where a delegated role speaks of
// anything but content.
func (t *Target) Release() (Release, error) {
	r, err := t.release()
	if err != nil {
		return Release{}, fmt.Errorf("custom of target %.200q: %w", t.Name, err)
	}
	return r, nil
}

func (t *Target) release() (r Release, err error) {
	l := strict.Limits{Bytes: customBytes, Depth: 4, Members: 512}
	tree, err := strict.Tree(t.Custom, l)
	said, object := tree.(map[string]any)
	if err == nil && !object {
		return r, fmt.Errorf("%w: it says nothing", ErrFormat)
	}
	var text releaseText
	if err == nil {
		err = strict.Unmarshal(t.Custom, &text, l)
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	kind := Kind(text.Kind)
	if _, given := said["kind"]; !given {
		kind = System
	}
	if members[kind] == nil {
		return r, fmt.Errorf("%w: kind %.40q", ErrFormat, kind)
	}
	for member, value := range said {
		if members[kind][member] == 0 || value == nil {
			return r, fmt.Errorf("%w: %s of kind %s", ErrFormat, member, kind)
		}
	}
	for member, weight := range members[kind] {
		if _, given := said[member]; !given && weight == 2 {
			return r, fmt.Errorf("%w: kind %s wants the member %s", ErrFormat, kind, member)
		}
	}
	if t.Role != "targets" && kind != Content {
		return r, fmt.Errorf("%w: role %s may speak of content, and not of kind %s", ErrType, t.Role, kind)
	}
	r = Release{Kind: kind, Compatible: text.Compatible, Seq: text.Seq, Floor: text.Floor, Name: text.Name, From: text.From,
		Issued: text.Issued.at, Arch: text.Arch, DowngradeMaxSeq: text.DowngradeMaxSeq}
	return r, r.complete(&text, said)
}

// complete holds a release to its bounds, and reads waves and versions.
func (r *Release) complete(text *releaseText, said map[string]any) (err error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrFormat}, args...)...)
	}
	_, floored := said["security_floor"]
	_, permit := said["downgrade_max_seq"]
	switch {
	case r.Seq < 1 || r.Seq > integerLimit:
		return bad("seq %d", r.Seq)
	case floored && (r.Floor < 1 || r.Floor > r.Seq):
		return bad("security_floor %d, wants 1 to seq, %d", r.Floor, r.Seq)
	case permit && r.DowngradeMaxSeq <= r.Seq:
		return bad("downgrade_max_seq %d permits nothing above seq, %d", r.DowngradeMaxSeq, r.Seq)
	case !releaseName(r.Name):
		return bad("release %.80q, wants name/version", r.Name)
	case len(r.Compatible) < 1 || len(r.Compatible) > mostCompatible:
		return bad("compatible with %d kinds of boards", len(r.Compatible))
	case len(r.From) > mostFrom:
		return bad("deltas from %d releases", len(r.From))
	case r.Kind == Agent && !part(r.Arch):
		return bad("arch %.80q", r.Arch)
	case r.Issued.IsZero():
		return bad("issued at no time")
	}
	if i := firstNot(r.Compatible, part); i >= 0 {
		return bad("compatible %.80q", r.Compatible[i])
	}
	if i := firstNot(r.From, releaseName); i >= 0 {
		return bad("from %.80q, wants name/version", r.From[i])
	}
	if _, given := said["min_agent"]; given {
		if r.MinAgent, err = ParseVersion(text.MinAgent); err != nil || r.MinAgent.String() != text.MinAgent {
			return bad("min_agent %.40q, wants three numbers", text.MinAgent)
		}
	}
	if _, given := said["wave"]; given {
		r.Wave, err = waves(text.Wave)
	}
	return err
}

// waves go up: a device that was let in is not shut out again by the same document.
func waves(texts []waveText) ([]Wave, error) {
	if len(texts) < 1 || len(texts) > mostWaves {
		return nil, fmt.Errorf("%w: %d waves", ErrFormat, len(texts))
	}
	list := make([]Wave, len(texts))
	for i, w := range texts {
		if w.Permille == nil || w.After.at.IsZero() || *w.Permille < 0 || *w.Permille > 1000 {
			return nil, fmt.Errorf("%w: wave %d wants after, and permille from 0 to 1000", ErrFormat, i)
		}
		list[i] = Wave{w.After.at, *w.Permille}
		if i > 0 && (!list[i].After.After(list[i-1].After) || list[i].Permille < list[i-1].Permille) {
			return nil, fmt.Errorf("%w: wave %d is not later and larger than the one before", ErrFormat, i)
		}
	}
	return list, nil
}

func firstNot(list []string, ok func(string) bool) int {
	for i, s := range list {
		if !ok(s) {
			return i
		}
	}
	return -1
}

// part is one word of a name.
func part(s string) bool {
	return s != "" && len(s) <= partBytes && s[0] != '.' && letters(s, compatibleRunes)
}

func releaseName(s string) bool {
	name, version, ok := strings.Cut(s, "/")
	return ok && part(name) && part(version)
}

// Ordinal is a device's place in the roll-out of a release, 0 to 999: the first 8 bytes of SHA-256(release, a zero byte,
// device), big-endian, modulo 1000. Every release draws anew, so that it is not always the same devices that go first.
func Ordinal(device, release string) int {
	sum := sha256.Sum256([]byte(release + "\x00" + device))
	return int(binary.BigEndian.Uint64(sum[:8]) % 1000)
}

// Open reports whether the waves let a device in at the time now: its Ordinal is below the permille of the last wave
// that has begun. opens is when the first wave that lets it in begins, which may have passed; zero when none does. No
// waves let everybody in.
func Open(device, release string, list []Wave, now time.Time) (open bool, opens time.Time) {
	if len(list) == 0 {
		return true, time.Time{}
	}
	ordinal := Ordinal(device, release)
	for _, w := range list {
		if ordinal < w.Permille {
			return !now.Before(w.After), w.After
		}
	}
	return false, time.Time{}
}

// A Version is that of the agent: major, minor, patch.
type Version [3]int

// ParseVersion reads 1.2.3; what follows a + or - is not looked at. Each number is at most 65,535.
func ParseVersion(s string) (v Version, err error) {
	plain := s
	if i := strings.IndexAny(s, "+-"); i >= 0 {
		plain = s[:i]
	}
	parts := strings.Split(plain, ".")
	for i, p := range parts {
		if len(parts) != len(v) || !number(p) {
			return Version{}, fmt.Errorf("%w: version %.40q, wants three numbers", ErrFormat, s)
		}
		if v[i], err = strconv.Atoi(p); err != nil || v[i] >= versionLimit {
			return Version{}, fmt.Errorf("%w: version %.40q has a number beyond %d", ErrFormat, s, versionLimit-1)
		}
	}
	return v, nil
}

// Compare is negative when v is older than w, 0 when they are equal, positive when v is newer.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v[0], w[0]), cmp.Compare(v[1], w[1]), cmp.Compare(v[2], w[2]))
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }
