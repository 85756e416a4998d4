package trust_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast/update/trust"
)

func release(role string, custom any) (trust.Release, error) {
	t := trust.Target{Name: "t", Role: role}
	if custom != nil {
		t.Custom = encode(custom)
	}
	return t.Release()
}

func TestReleasesAreReadWhole(t *testing.T) {
	at := func(s string) time.Time {
		tm, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return tm
	}
	got, err := release("targets", with(system(7), "wave", list{obj{"after": past, "permille": 0}, obj{"after": later,
		"permille": 1000}},
		"downgrade_max_seq", 9))
	want := trust.Release{Kind: trust.System, Compatible: []string{"gateway-v2"}, Seq: 7, Floor: 1, Name: "gateway/1.7.0",
		From: []string{"gateway/1.0.0"}, Wave: []trust.Wave{{After: at(past)}, {After: at(later), Permille: 1000}},
		MinAgent: trust.Version{1, 0, 0}, Issued: at("2026-05-01T00:00:00Z"), DowngradeMaxSeq: 9}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("system: %+v, %v; want %+v", got, err, want)
	}
	got, err = release("targets", with(system(7), "kind", "agent", "arch", "armv7"))
	if err != nil || got.Kind != trust.Agent || got.Arch != "armv7" {
		t.Errorf("agent: %+v, %v", got, err)
	}
	got, err = release("content", rules(3))
	want = trust.Release{Kind: trust.Content, Compatible: []string{"gateway-v2"}, Seq: 3, Name: "rules/3",
		Issued: at("2026-05-02T00:00:00Z")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("content: %+v, %v; want %+v", got, err, want)
	}
	if _, err := release("targets", with(rules(3), "wave", list{obj{"after": past, "permille": 1}}, "min_agent",
		"2.0.0")); err != nil {
		t.Errorf("content with what it may say: %v", err)
	}
}

func TestADelegatedRoleMaySpeakOfContentAlone(t *testing.T) {
	for _, custom := range []obj{system(7), with(system(7), "kind", "system"), with(system(7), "kind", "agent", "arch",
		"armv7")} {
		if _, err := release("content", custom); !errors.Is(err, trust.ErrType) {
			t.Errorf("%v: %v", custom["kind"], err)
		}
	}
	if _, err := release("targets", rules(3)); err != nil {
		t.Error(err)
	}
}

func TestReleasesThatAreRefused(t *testing.T) {
	long := strings.Repeat("a", 65)
	many := func(n int, v any) list {
		l := list{}
		for range n {
			l = append(l, v)
		}
		return l
	}
	wave := func(pairs ...any) list {
		l := list{}
		for i := 0; i < len(pairs); i += 2 {
			l = append(l, obj{"after": pairs[i], "permille": pairs[i+1]})
		}
		return l
	}
	for name, custom := range map[string]any{
		"nothing": nil, "null": json.RawMessage("null"), "a list": list{}, "empty": obj{}, "text": "x", "unknown": with(system(7), "x", 1),
		"another case": with(system(7), "Seq", 7), "too much": with(system(7), "from", many(300, "gateway/"+long[:60])),
		"kind null": json.RawMessage(strings.Replace(string(encode(system(7))), "{", `{"kind":null,`,
			1)), "kind empty": with(system(7), "kind", ""),
		"kind unknown": with(system(7), "kind", "firmware"), "kind in capitals": with(system(7), "kind", "System"),
		"no board": with(system(7), "compatible",
			list{}), "boards null": json.RawMessage(strings.Replace(string(encode(system(7))),
			`["gateway-v2"]`, "null", 1)), "33 boards": with(system(7), "compatible", many(33, "a")),
		"an empty board": with(system(7), "compatible", list{"a", ""}), "a board too long": with(system(7),
			"compatible", list{long}),
		"a board upwards": with(system(7), "compatible", list{".."}), "any board": with(system(7), "compatible",
			list{"*"}),
		"seq 0": with(system(7), "seq", 0), "seq -1": with(system(7), "seq", -1), "seq a fraction": with(system(7),
			"seq", 7.5),
		"seq beyond": with(system(7), "seq", json.Number("9007199254740993")), "seq text": with(system(7), "seq", "7"),
		"floor 0": with(system(7), "security_floor", 0), "floor above": with(system(7), "security_floor", 8),
		"a permit for nothing": with(system(7), "downgrade_max_seq", 7), "a permit of 0": with(system(7),
			"downgrade_max_seq", 0),
		"no slash": with(system(7), "release", "gateway"), "two slashes": with(system(7), "release", "a/b/c"),
		"an empty half": with(system(7), "release", "gateway/"), "upwards": with(system(7), "release", "../1"),
		"too long": with(system(7), "release", long+"/1"), "from what is no release": with(system(7), "from", list{"1"}),
		"from 65": with(system(7), "from", many(65,
			"a/1")), "waves null": json.RawMessage(strings.Replace(string(encode(system(7))),
			`[{"after":"2026-01-01T00:00:00Z","permille":1000}]`, "null", 1)),
		"no waves": with(system(7), "wave", list{}), "65 waves": with(system(7), "wave", many(65, obj{"after": past,
			"permille": 1})),
		"a wave without a time":   with(system(7), "wave", list{obj{"permille": 1}}),
		"a wave without a part":   with(system(7), "wave", list{obj{"after": past}}),
		"a wave of a null":        with(system(7), "wave", list{obj{"after": past, "permille": json.RawMessage("null")}}),
		"a wave with more":        with(system(7), "wave", list{obj{"after": past, "permille": 1, "x": 1}}),
		"a wave beyond all":       with(system(7), "wave", wave(past, 1001)),
		"a wave below none":       with(system(7), "wave", wave(past, -1)),
		"waves that end earlier":  with(system(7), "wave", wave(later, 1, past, 2)),
		"waves at the same time":  with(system(7), "wave", wave(past, 1, past, 2)),
		"waves that shut out":     with(system(7), "wave", wave(past, 2, later, 1)),
		"min_agent short":         with(system(7), "min_agent", "1.0"),
		"min_agent long":          with(system(7), "min_agent", "1.0.0.0"),
		"min_agent of a build":    with(system(7), "min_agent", "1.0.0+git"),
		"min_agent by zeros":      with(system(7), "min_agent", "01.0.0"),
		"min_agent empty":         with(system(7), "min_agent", ""),
		"min_agent beyond":        with(system(7), "min_agent", "1.0.65536"),
		"issued in another zone":  with(system(7), "issued", "2026-05-01T00:00:00+02:00"),
		"issued empty":            with(system(7), "issued", ""),
		"issued on no day":        with(system(7), "issued", "2026-02-30T00:00:00Z"),
		"issued in two spellings": with(system(7), "issued", "2026-05-01T00:00:00.10Z"),
		"arch of a system":        with(system(7), "arch", "armv7"),
		"an agent for none":       with(system(7), "kind", "agent"),
		"an agent for nothing":    with(system(7), "kind", "agent", "arch", ""),
		"content with a floor":    with(rules(3), "security_floor", 1),
		"content with deltas":     with(rules(3), "from", list{"a/1"}),
		"content with no waves":   with(rules(3), "wave", list{}),
		"twice":                   json.RawMessage(strings.Replace(string(encode(system(7))), "{", `{"seq":7,`, 1)),
		"deep":                    json.RawMessage(strings.Repeat("[", 5) + strings.Repeat("]", 5)),
	} {
		if r, err := release("targets", custom); !errors.Is(err, trust.ErrFormat) || !reflect.DeepEqual(r,
			trust.Release{}) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	for _, of := range []obj{system(7), with(system(7), "kind", "agent", "arch", "armv7"), rules(3)} {
		for member := range of {
			if member == "from" || member == "kind" {
				continue
			}
			if _, err := release("targets", with(of, member, nil)); !errors.Is(err, trust.ErrFormat) {
				t.Errorf("%v without %s: %v", of["kind"], member, err)
			}
		}
	}
}

func TestWavesOpenAndStayOpen(t *testing.T) {
	at := func(day int) time.Time { return time.Date(2026, 6, day, 0, 0, 0, 0, time.UTC) }
	waves := []trust.Wave{{After: at(2), Permille: 10}, {After: at(3), Permille: 10}, {After: at(4), Permille: 500},
		{After: at(6), Permille: 999}}
	open := make([]int, 8)
	for i := range 10000 {
		device := fmt.Sprint("device-", i)
		ordinal := trust.Ordinal(device, "gateway/1.7.0")
		before := false
		for day := 1; day < 8; day++ {
			now, opens := trust.Open(device, "gateway/1.7.0", waves, at(day))
			if before && !now {
				t.Fatalf("%s is shut out on day %d", device, day)
			}
			if now {
				open[day]++
			}
			if opens.IsZero() != (ordinal == 999) || !opens.IsZero() && now != !at(day).Before(opens) {
				t.Fatalf("%s, ordinal %d, on day %d: %t, opens %s", device, ordinal, day, now, opens)
			}
			before = now
		}
	}
	for day, about := range []int{0, 0, 100, 100, 5000, 5000, 9990, 9990} {
		if diff := open[day] - about; diff*diff > 40000 {
			t.Errorf("day %d: %d of 10,000 devices are let in, want about %d", day, open[day], about)
		}
	}
	if now, opens := trust.Open("x", "y", nil, at(1)); !now || !opens.IsZero() {
		t.Error("no waves do not let everybody in")
	}
}

// Another implementation must draw the same: the figures are from Python's hashlib.
func TestOrdinals(t *testing.T) {
	for _, tt := range []struct {
		device, release string
		want            int
	}{{"gw-0001", "gateway/1.7.0", 677}, {"gw-0002", "gateway/1.7.0", 632}, {"gw-0001", "gateway/1.8.0", 337}, {"", "",
		192}} {
		if got := trust.Ordinal(tt.device, tt.release); got != tt.want {
			t.Errorf("Ordinal(%q, %q) = %d, want %d", tt.device, tt.release, got, tt.want)
		}
	}
}

func TestVersions(t *testing.T) {
	order := []string{"0.0.0+git12.abc", "0.0.1", "0.1.0-rc1", "1.0.0", "1.2.0", "1.10.0", "2.0.0", "65535.65535.65535"}
	for i, a := range order {
		for j, b := range order {
			v, err1 := trust.ParseVersion(a)
			w, err2 := trust.ParseVersion(b)
			if err1 != nil || err2 != nil || (v.Compare(w) < 0) != (i < j) || (v.Compare(w) > 0) != (i > j) {
				t.Errorf("%s and %s: %d, %v, %v", a, b, v.Compare(w), err1, err2)
			}
		}
	}
	for _, s := range []string{"", "1", "1.2", "1.2.3.4", "v1.2.3", "1.2.x", "1..3", "-1.2.3", "1.2.3 ", "1.2.65536",
		"1.2.99999999999999999999"} {
		if v, err := trust.ParseVersion(s); !errors.Is(err, trust.ErrFormat) || v != (trust.Version{}) {
			t.Errorf("%q: %v, %v", s, v, err)
		}
	}
}
