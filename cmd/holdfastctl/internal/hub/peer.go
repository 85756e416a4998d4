package hub

import (
	"crypto/x509/pkix"
	"slices"
	"strings"
)

// A peer is who a client was found to be.
type peer struct {
	operator bool // may everything
	name     string
}

// local is everybody on a loopback listener without passwords.
var local = peer{operator: true, name: "local"}

func (p peer) String() string {
	if p.operator {
		return "operator " + p.name
	}
	return "device " + p.name
}

// parsePeer is the inverse of String.
func parsePeer(s string) peer {
	if name, ok := strings.CutPrefix(s, "operator "); ok {
		return peer{operator: true, name: name}
	}
	name, _ := strings.CutPrefix(s, "device ")
	return peer{name: name}
}

// known reports whether the name can be a device's: 1 to 64 of [A-Za-z0-9_.-], so that it is one level of a topic.
func (p peer) known() bool {
	if p.operator {
		return p.name != ""
	}
	return ValidDevice(p.name)
}

// ValidDevice reports whether id can name a device: 1 to 64 of [A-Za-z0-9_.-].
func ValidDevice(id string) bool {
	return len(id) > 0 && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool { return !idRune(r) })
}

func idRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-'
}

func peerOf(s pkix.Name) peer {
	return peer{operator: slices.Contains(s.OrganizationalUnit, "operator") || operatorName(s.CommonName), name: s.CommonName}
}

func operatorName(name string) bool { return strings.HasPrefix(name, "operator") }

// What a device may publish and read below holdfast/<id>/.
var (
	writes = []string{"status", "telemetry", "event", "shadow/reported", "command/result", "job/status"}
	reads  = []string{"shadow/desired", "command", "job"}
)

// may reports whether p may publish to the topic, or subscribe to the filter and receive from it. A device names its
// topics in full: a wildcard takes in more than it may read.
func (p peer) may(topic string, write bool) bool {
	if p.operator {
		return true
	}
	rest, ok := strings.CutPrefix(topic, "holdfast/"+p.name+"/")
	if !ok || p.name == "" {
		return false
	}
	if write {
		return slices.Contains(writes, rest)
	}
	return slices.Contains(reads, rest)
}

// owns reports whether the client id can be nobody else's: sessions of a device are kept under such ids only, so that
// no device can sit on another's queue.
func (p peer) owns(clientID string) bool {
	return p.operator || clientID == p.name || clientID == "holdfast-"+p.name || strings.HasPrefix(clientID, p.name+"/")
}
