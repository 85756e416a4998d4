package trust_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"holdfast/update/trust"
)

// A suite is what the script says before its cases.
type suite struct {
	Now     time.Time
	States  map[string]map[string][]byte
	Worlds  map[string]map[string][]byte
	Base    map[string]*meaning // of the repository, unspoilt
	Old     map[string]*meaning // of the one before
	Samples []struct{ Name, Verb, Message, Signature string }
}

// A meaning is what a device may take a target for.
type meaning struct {
	Role    string          `json:"role"`
	Length  int64           `json:"length"`
	SHA256  string          `json:"sha256"`
	Release *releaseMeaning `json:"release"`
	May     []bool          `json:"may,omitempty"`
}

type releaseMeaning struct {
	Kind       string   `json:"kind"`
	Compatible []string `json:"compatible"`
	Seq        int64    `json:"seq"`
	Floor      int64    `json:"floor"`
	Release    string   `json:"release"`
	From       []string `json:"from"`
	Wave       [][2]any `json:"wave"`
	MinAgent   string   `json:"min_agent"`
	Issued     string   `json:"issued"`
	Arch       string   `json:"arch"`
	Permit     int64    `json:"permit"`
}

// A line is the suite, a meaning, or a case.
type line struct {
	suite
	Meaning map[string]*meaning `json:"meaning"`
	Number  int                 `json:"n"`

	Class  string           `json:"c"`
	File   string           `json:"f"`
	Place  string           `json:"p"`
	Detail string           `json:"d"`
	How    string           `json:"k"`
	World  string           `json:"w"`
	State  string           `json:"s"`
	Files  map[string]*edit `json:"x"`
	Want   []string         `json:"want"`
	Means  *int             `json:"m"`

	means map[string]*meaning // what Means stands for
}

// An edit is a file as it is, its first n bytes, or a bit of byte n turned.
type edit struct {
	file []byte
	cut  []int
}

func (e *edit) UnmarshalJSON(raw []byte) error {
	if raw[0] == '[' {
		return json.Unmarshal(raw, &e.cut)
	}
	return json.Unmarshal(raw, &e.file)
}

func (e *edit) of(file []byte) []byte {
	switch len(e.cut) {
	case 1:
		return file[:e.cut[0]:e.cut[0]]
	case 2:
		file = slices.Clone(file)
		file[e.cut[0]] ^= 1 << e.cut[1]
		return file
	}
	return e.file
}

// A bench runs cases one after the other. Since what is refused leaves no trace, a client that has refused one is used
// for the next.
type bench struct {
	*suite
	warm map[string]*trust.Client
}

// outcome is what a device makes of the case: "ok" or the class of the refusal, and what it would install by.
func (b *bench) outcome(c *line) (class string, takes map[string]*meaning, err error) {
	defer func() {
		if p := recover(); p != nil {
			class, err = "panic", fmt.Errorf("panic: %v", p)
			clear(b.warm)
		}
	}()
	files := maps.Clone(b.Worlds[c.World])
	for name, e := range c.Files {
		files[name] = e.of(files[name])
	}
	client, err := b.client(c, files)
	if err == nil {
		err = pull(client, files)
	}
	names := map[string]bool{}
	for _, of := range []map[string]*meaning{b.Base, b.Old, c.means} {
		for name := range of {
			names[name] = true
		}
	}
	takes = map[string]*meaning{}
	for name := range names {
		m, e := b.take(client, name, files)
		if err == nil {
			err = e
		}
		if m != nil {
			takes[name] = m
		}
	}
	if err == nil {
		return "ok", takes, nil
	}
	return reason(err), takes, err
}

// client returns one that wants the first file that the case changes, and the error where it was refused: then the
// client is used again. Any other is used once.
func (b *bench) client(c *line, files map[string][]byte) (*trust.Client, error) {
	first := ""
	for _, name := range []string{"2.root.json", "timestamp.json", "11.snapshot.json", "11.targets.json"} {
		if _, changed := c.Files[name]; changed {
			first = name
			break
		}
	}
	key := c.World + c.State + first
	client := b.warm[key]
	if client == nil {
		kept := b.States[c.State]
		state := trust.State{Root: kept["root"], Timestamp: kept["timestamp"], Snapshot: kept["snapshot"],
			Targets: kept["targets"]}
		if kept["content"] != nil {
			state.Delegated = map[string][]byte{"content": kept["content"]}
		}
		var err error
		if client, err = trust.New(state, trust.Options{Now: b.Now}); err != nil {
			return nil, err
		}
	}
	delete(b.warm, key)
	for name, _, ok := client.Want(); ok; name, _, ok = client.Want() {
		if name == first {
			before := client.State()
			if err := client.Give(files[name]); err != nil {
				if !equal(before, client.State()) {
					return client, fmt.Errorf("what was refused left a trace: %w", err)
				}
				b.warm[key] = client
				return client, err
			}
			break
		}
		if files[name] == nil && !strings.HasSuffix(name, ".root.json") {
			break
		}
		var err error
		if files[name] == nil {
			err = client.Absent()
		} else {
			err = client.Give(files[name])
		}
		if err != nil {
			return client, err
		}
	}
	return client, nil
}

// take asks for a target and reads what it stands for. A target that is not there is no error.
func (s *suite) take(client *trust.Client, name string, files map[string][]byte) (*meaning, error) {
	t, err := client.Target(name)
	if err != nil {
		return nil, nil
	}
	m := &meaning{Role: t.Role, Length: t.Length, SHA256: hex.EncodeToString(t.SHA256[:])}
	if t.Custom != nil {
		r, err := t.Release()
		if err != nil {
			return nil, err
		}
		m.Release = meant(r)
	}
	if name != trust.OperatorsTarget {
		return m, nil
	}
	o, err := t.Operators(files[name])
	if err != nil {
		return nil, err
	}
	for _, sample := range s.Samples {
		sig, _ := hex.DecodeString(sample.Signature)
		m.May = append(m.May, o.Verify(sample.Name, sample.Verb, []byte(sample.Message), sig) == nil)
	}
	return m, nil
}

func meant(r trust.Release) *releaseMeaning {
	m := &releaseMeaning{Kind: string(r.Kind), Compatible: slices.Sorted(slices.Values(r.Compatible)), Seq: r.Seq,
		Floor:   r.Floor,
		Release: r.Name, From: slices.AppendSeq([]string{},
			slices.Values(slices.Sorted(slices.Values(r.From)))), Wave: [][2]any{},
		MinAgent: r.MinAgent.String(), Issued: r.Issued.Format(time.RFC3339Nano), Arch: r.Arch, Permit: r.DowngradeMaxSeq}
	for _, w := range r.Wave {
		m.Wave = append(m.Wave, [2]any{w.After.Format(time.RFC3339Nano), float64(w.Permille)})
	}
	return m
}

// wrong says what is wrong about an outcome: something was taken that should not have been, or for another reason refused
// than the one that holds. Whatever is refused, each target still means what it meant before, what it means in the
// repository as it should be, or nothing.
func (s *suite) wrong(c *line, class string, takes map[string]*meaning, err error) (accepted bool, fault string) {
	if class == "panic" {
		return false, err.Error()
	}
	if class == "ok" {
		switch {
		case c.means == nil:
			return true, "accepted"
		case !reflect.DeepEqual(takes, c.means):
			return true, "accepted, and means " + string(encode(takes)) + " and not " + string(encode(c.means))
		}
		return true, ""
	}
	for name, m := range takes {
		if !reflect.DeepEqual(m, s.Base[name]) && !reflect.DeepEqual(m, s.Old[name]) && !reflect.DeepEqual(m,
			c.means[name]) {
			return true, "refused, and yet " + name + " means " + string(encode(m))
		}
	}
	if !slices.Contains(c.Want, class) {
		return false, fmt.Sprintf("refused as %s: %v", class, err)
	}
	return false, ""
}
