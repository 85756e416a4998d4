package epl

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// A recording is a stream with what was observed, in the form of the files in cases/testdata.
type recording struct {
	ID         string
	Types      map[string]map[string]string
	Statements []struct{ Name, EPL string }
	Steps      []recorded
	Expect     []struct {
		At       int
		T        int64
		Stmt     string
		New, Old []map[string]any
	}
}

type recorded struct {
	Time, Span *int64
	Ev, Type   string
	P          map[string]any
	Deploy     []string
	Undeploy   []string
}

func recordings(t *testing.T, name string) []recording {
	f, err := os.Open("cases/testdata/" + name + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Cases []recording }
	d := json.NewDecoder(z)
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all.Cases
}

// ofKind is a value of JSON as the oracle has it.
func ofKind(v any, kind string) any {
	n, ok := v.(json.Number)
	if !ok {
		return v
	}
	k, _ := ParseKind(kind)
	if k == Double {
		f, _ := n.Float64()
		return f
	}
	i, _ := n.Int64()
	if k == Int {
		return int32(i)
	}
	return i
}

func (c *recording) types() map[string]*Type {
	types := map[string]*Type{}
	for name, props := range c.Types {
		t := &Type{Name: name}
		for p, kind := range props {
			k, _ := ParseKind(kind)
			t.Properties = append(t.Properties, Property{p, k})
		}
		slices.SortFunc(t.Properties, func(a, b Property) int { return strings.Compare(a.Name, b.Name) })
		types[name] = t
	}
	return types
}

// replayed is what the oracle says of a recording, with up to so many states of a pattern; vague is true when that includes what nobody observed.
func (c *recording) replayed(most int, turned bool) (calls []oCall, vague bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	step := 0
	o := &oracle{types: c.types(), most: most, turned: turned}
	o.call = func(c oCall) {
		c.step = step
		calls = append(calls, c)
	}
	rules := map[string]*oRule{}
	for i, s := range c.Steps {
		step = i
		switch {
		case s.Time != nil:
			o.advance(*s.Time)
		case s.Span != nil:
			o.span(*s.Span)
		case s.Deploy != nil:
			for _, st := range c.Statements {
				if !slices.Contains(s.Deploy, st.Name) {
					continue
				}
				all, err := Parse("", st.EPL)
				if err != nil {
					return nil, false, err
				}
				rules[st.Name] = o.deploy(st.Name, all[0])
			}
		case s.Undeploy != nil:
			for _, n := range s.Undeploy {
				o.undeploy(rules[n])
			}
		default:
			e := &oEvent{typ: s.Type, name: s.Ev, props: map[string]any{}}
			for p, kind := range c.Types[s.Type] {
				e.props[p] = ofKind(s.P[p], kind)
			}
			o.offer(e)
		}
	}
	for _, r := range rules {
		vague = vague || r.matcher != nil && r.matcher.vague
	}
	return calls, vague, nil
}

// shown are rows as text: events that arrived by their names, numbers to nine digits, the rows in order of their texts.
func shown(rows []orow) string {
	var out []string
	for _, r := range rows {
		var cells []string
		for k, v := range r {
			cells = append(cells, k+"="+shownValue(v))
		}
		slices.Sort(cells)
		out = append(out, "{"+strings.Join(cells, " ")+"}")
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

func shownValue(v any) string {
	switch v := v.(type) {
	case *oEvent:
		if v == nil {
			return "null"
		}
		if v.name != "" {
			return "@" + v.name
		}
		return shown([]orow{v.props})
	case []*oEvent:
		if len(v) == 0 {
			return "null"
		}
		var out []string
		for _, e := range v {
			out = append(out, shownValue(e))
		}
		return "[" + strings.Join(out, ",") + "]"
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, shownValue(e))
		}
		return "[" + strings.Join(out, ",") + "]"
	case map[string]any:
		return shown([]orow{v})
	case json.Number:
		f, _ := v.Float64()
		return shownValue(f)
	case string:
		return v
	case nil:
		return "null"
	}
	if f, ok := oFloat(v); ok {
		if math.Abs(f) < 1e-6 { // what is left of a standard deviation of 0
			f = 0
		}
		return fmt.Sprintf("%.9g", f)
	}
	return fmt.Sprint(v)
}

func (c oCall) String() string {
	return fmt.Sprintf("step %d t=%d %s: new %s old %s", c.step, c.time, c.statement, shown(c.news), shown(c.olds))
}

// lines are calls as text; those of one step in order of their statements, which call in any order.
func lines(calls []oCall) (out []string) {
	calls = slices.Clone(calls)
	slices.SortStableFunc(calls, func(a, b oCall) int {
		if a.step != b.step {
			return a.step - b.step
		}
		return strings.Compare(a.statement, b.statement)
	})
	for _, c := range calls {
		out = append(out, c.String())
	}
	return out
}

func asRows(rows []map[string]any) (out []orow) {
	for _, r := range rows {
		out = append(out, r)
	}
	return out
}

// differ says where two lists of calls part; empty for nowhere.
func differ(got, want []string) string {
	for i := range max(len(got), len(want)) {
		g, w := "nothing more", "nothing more"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("%s\n\twhere %s", g, w)
		}
	}
	return ""
}

// The oracle is worth something if it agrees with what was observed.
func TestOracleAgreesWithObservations(t *testing.T) {
	most, large := 1000, 0
	if os.Getenv("HOLDFAST_EPL_ROUNDS") != "" { // there is time
		most = 10_000
	}
	for _, file := range []string{"own", "grammar"} {
		agree, all := 0, recordings(t, file)
		for i := range all {
			c := &all[i]
			var want []oCall
			for _, e := range c.Expect {
				want = append(want, oCall{e.At, e.T, e.Stmt, asRows(e.New), asRows(e.Old)})
			}
			calls, _, err := c.replayed(most, false)
			d := ""
			if err != nil && err.Error() == errTooLarge.Error() {
				t.Logf("%s: %v", c.ID, err)
				large++
				continue
			}
			if err != nil {
				d = err.Error()
			} else {
				d = differ(lines(calls), lines(want))
			}
			if d == "" {
				agree++
				continue
			}
			t.Errorf("%s: the oracle says %s was observed\n\t%s", c.ID, d, c.Statements[len(c.Statements)-1].EPL)
		}
		t.Logf("%s: %d of %d agree", file, agree, len(all))
	}
	if large > 2 {
		t.Errorf("%d cases have more than %d states: that tests little", large, most)
	}
}
