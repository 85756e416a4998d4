package ladder_test

import (
	"errors"
	"io/fs"
	"maps"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"holdfast/remediate/ladder"
)

const leak = `# what is done about a leak
fault        = "mem_leak"
help         = "A watched unit takes memory without end."
precondition = "select unit from UnitState(memory_bytes > 104857600)"
fresh        = "60s"
symptom      = "select unit from UnitState(memory_bytes > 104857600)"
windows      = 5
per_hour     = 3
per_day      = 9

[[rung]]
name    = "restart"
do      = "unit.restart"
args    = { unit = "{unit}" }
timeout = "90s"
settle  = "20s"
undo    = { do = "script", args = { name = "note", args = ["{unit}", "in {unit}."], n = 3, ratio = 0.5, quiet = true } }

[[rung]]
name = "reboot"
do   = "reboot"

[[rung]]
name = "human"
do   = "ask"
`

func TestAPlaybookIsReadWithItsDefaults(t *testing.T) {
	p, err := ladder.Parse("leak.toml", []byte(leak))
	if err != nil {
		t.Fatal(err)
	}
	want := &ladder.Playbook{File: "leak.toml", Fault: "mem_leak", Help: "A watched unit takes memory without end.", Fresh: time.Minute,
		Precondition: "select unit from UnitState(memory_bytes > 104857600)", Symptom: "select unit from UnitState(memory_bytes > 104857600)",
		Windows: 5, PerHour: 3, PerDay: 9, Rungs: []ladder.Rung{
			{Name: "restart", Deed: ladder.Deed{Do: "unit.restart", Args: map[string]any{"unit": "{unit}"}}, Timeout: 90 * time.Second, Settle: 20 * time.Second,
				Undo: &ladder.Deed{Do: "script", Args: map[string]any{"name": "note", "args": []string{"{unit}", "in {unit}."}, "n": int64(3), "ratio": 0.5, "quiet": true}}},
			{Name: "reboot", Deed: ladder.Deed{Do: "reboot", Args: map[string]any{}}, Timeout: time.Minute, Settle: 10 * time.Second},
			{Name: "human", Deed: ladder.Deed{Do: "ask", Args: map[string]any{}}, Timeout: time.Minute, Settle: 10 * time.Second},
		}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("%+v\nwant\n%+v", p, want)
	}
	small, err := ladder.Parse("x", []byte("fault='x'\nhelp='y'\nsymptom='z'\n[[rung]]\nname='a'\ndo='ask'\n"))
	if err != nil || small.Windows != 3 || small.PerHour != 4 || small.PerDay != 12 || small.Fresh != time.Minute {
		t.Errorf("the defaults are %+v, %v", small, err)
	}
}

func TestWhatIsWrongIsNamedWithItsPlace(t *testing.T) {
	replaced := func(old, with string) string {
		if !strings.Contains(leak, old) {
			t.Fatalf("%q is not in the playbook", old)
		}
		return strings.Replace(leak, old, with, 1)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"an unknown key", replaced("windows ", "window "), `p.toml:7:1: no such key "window" (did you mean "windows"?)`},
		{"an unknown key of a rung", replaced("settle ", "settles "), `p.toml:16:1: no such key "rung.settles" (did you mean "settle"?)`},
		{"a wrong type", replaced("windows      = 5", `windows      = "5"`), `p.toml:7:16: windows: this key does not take a value of the type string`},
		{"a duration that is none", replaced(`"60s"`, `"60"`), `p.toml:5:16: fresh: "60" is not a duration such as 10s or 5m`},
		{"no TOML", "fault = = 1", `p.toml:1:9:`},
		{"a fault with a wrong name", replaced(`"mem_leak"`, `"Mem-Leak"`), `p.toml:2:1: fault: wants the name of a fault`},
		{"what is no fault", replaced(`"mem_leak"`, `"normal"`), `p.toml:2:1: fault: normal is no fault`},
		{"what nobody can name", replaced(`"mem_leak"`, `"unknown"`), `p.toml:2:1: fault: unknown is no fault`},
		{"windows out of range", replaced("windows      = 5", "windows = 61"), `p.toml:7:1: windows: 61 is not between 1 and 60`},
		{"fresh out of range", replaced(`"60s"`, `"2h"`), `p.toml:5:1: fresh: 2h0m0s is not between 1s and 1h0m0s`},
		{"a limit out of range", replaced("per_hour     = 3", "per_hour = 21"), `p.toml:8:1: per_hour: 21 is not between 1 and 20`},
		{"no limit at all", replaced("per_day      = 9", "per_day = 0"), `p.toml:9:1: per_day: 0 is not between 1 and 100`},
		{"no symptom", replaced("symptom ", "#"), `p.toml:1:1: symptom: wants 1 to 4096 bytes of EPL`},
		{"help of two lines", replaced("without end.", `without\nend.`), `p.toml:3:1: help: wants one line`},
		{"a timeout out of range", replaced(`"90s"`, `"31m"`), `p.toml:15:1: rung 1: timeout: 31m0s is not between 1s and 30m0s`},
		{"a settle out of range", replaced(`"20s"`, `"-1s"`), `p.toml:16:1: rung 1: settle: -1s is not between 0s and 1h0m0s`},
		{"an unknown deed", replaced(`"unit.restart"`, `"unit.restrat"`), `p.toml:13:1: rung 1: do: no rung can be "unit.restrat" (did you mean "unit.restart"?)`},
		{"a deed that is none of a repair", replaced(`"unit.restart"`, `"update.job"`), `p.toml:13:1: rung 1: do: no rung can be "update.job" (there are clean, `},
		{"a milder rung after a harder", replaced(`"ask"`, `"unit.restart"`), `p.toml:25:1: rung 3: do: unit.restart is milder than reboot before it (mildest first: clean, `},
		{"two rungs of one name", replaced(`"human"`, `"reboot"`), `p.toml:24:1: rung 3: name: another rung is called "reboot"`},
		{"a rung without a name", replaced(`name = "reboot"`, ``), `p.toml:19:1: rung 2: name: wants 1 to 32 of a-z, 0-9 and '-'`},
		{"a reboot for what is upstream", "upstream = true\n" + leak, `p.toml:22:1: rung 2: do: reboot, where the fault is upstream: this device is not restarted`},
		{"another system for what is upstream", "upstream = true\n" + replaced("do   = \"reboot\"", "do = 'update.rollback'\nargs = { kind = 'system' }"),
			`p.toml:22:1: rung 2: do: update.rollback, where the fault is upstream`},
		{"a rollback of nothing", replaced("do   = \"reboot\"", "do = 'update.rollback'"), `p.toml:19:1: rung 2: args: kind: wants one of system, content, agent`},
		{"a brace left open", replaced(`"{unit}"`, `"{unit"`), `p.toml:14:1: rung 1: args: unit: "{unit": a brace stands for nothing but a value, as in {unit}`},
		{"a brace closed alone", replaced(`"{unit}"`, `"unit}"`), `rung 1: args: unit: "}": a brace`},
		{"a place that is no name", replaced(`"{unit}"`, `"{a b}"`), `rung 1: args: unit: "{a b}": a brace`},
		{"an argument that is a table", replaced(`"{unit}"`, `{ a = 1 }`), `p.toml:14:1: rung 1: args: unit: wants a text, a number, true or false, or a list of texts`},
		{"an argument that is a time", replaced(`"{unit}"`, `2026-01-01`), `rung 1: args: unit: wants a text`},
		{"an argument too long", replaced(`"{unit}"`, `"`+strings.Repeat("x", 257)+`"`), `rung 1: args: unit: wants at most 256 bytes`},
		{"an undo that reboots", replaced(`undo    = { do = "script"`, `undo    = { do = "reboot"`), `p.toml:17:1: rung 1: undo: reboot is no undo`},
		{"no rung", "fault='x'\nhelp='y'\nsymptom='z'\n", `p.toml:1:1: rung: 0 rungs, wants 1 to 8`},
		{"too many rungs", "fault='x'\nhelp='y'\nsymptom='z'\n" + strings.Repeat("[[rung]]\nname='a'\ndo='ask'\n", 9), `rung: 9 rungs, wants 1 to 8`},
		{"too long", leak + strings.Repeat("#", ladder.MaxBytes), `p.toml: longer than 16384 bytes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := ladder.Parse("p.toml", []byte(tt.text))
			if err == nil || p != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant\n%s", err, tt.want)
			}
			if told := (*ladder.Error)(nil); !errors.As(err, &told) {
				t.Errorf("the error is a %T", err)
			}
		})
	}
}

func TestEveryDeedIsAsHardAsTheOrderSays(t *testing.T) {
	deeds := []string{"do='clean'", "do='unit.restart'", "do='script'", "do='interface.cycle'", "do='unit.restart'", "do='config.rollback'",
		"do='update.rollback'\nargs={kind='content'}", "do='config.rollback'", "do='reboot'", "do='update.rollback'\nargs={kind='system'}", "do='safe.enter'", "do='ask'"}
	two := func(a, b string) error {
		_, err := ladder.Parse("p", []byte("fault='x'\nhelp='y'\nsymptom='z'\n[[rung]]\nname='a'\n"+a+"\n[[rung]]\nname='b'\n"+b+"\n"))
		return err
	}
	class := []int{1, 2, 2, 2, 2, 3, 3, 3, 4, 5, 6, 7}
	for i, a := range deeds {
		for j, b := range deeds {
			if err := two(a, b); (err == nil) != (class[j] >= class[i]) {
				t.Errorf("%s, then %s: %v", a, b, err)
			}
		}
	}
}

func TestValuesAreFilledIn(t *testing.T) {
	d := ladder.Deed{Do: "script", Args: map[string]any{"unit": "{unit}", "args": []string{"-u", "{unit} of {device}"}, "n": int64(3)}}
	got, err := d.Fill(map[string]string{"unit": "a{b}.service", "device": "d"})
	want := map[string]any{"unit": "a{b}.service", "args": []string{"-u", "a{b}.service of d"}, "n": int64(3)}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err) // what a value has of braces is not filled in
	}
	if names := d.Wants(); !reflect.DeepEqual(names, []string{"device", "unit"}) {
		t.Errorf("it wants %v", names)
	}
	if _, err := d.Fill(map[string]string{"unit": "x"}); err == nil || err.Error() != "args: there is no value {device}" {
		t.Errorf("a value that is not there: %v", err)
	}
	if _, err := d.Fill(map[string]string{"unit": strings.Repeat("x", 256), "device": "d"}); err == nil || !strings.Contains(err.Error(), "longer than 256 bytes") {
		t.Errorf("a text that grows: %v", err)
	}
}

func TestAShelfHasOnePlaybookForAFault(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }
	small := func(fault string) string {
		return "fault='" + fault + "'\nhelp='y'\nsymptom='z'\n[[rung]]\nname='a'\ndo='ask'\n"
	}
	packaged := fstest.MapFS{"a.toml": file(small("a_fault")), "b.toml": file(small("b_fault")), "c.toml": file(small("c_fault")),
		"README": file("no playbook"), ".x.toml": file("a backup")}
	own := fstest.MapFS{"b.toml": file(strings.Replace(small("b_fault"), "'y'", "'ours'", 1)), "c.toml": file("fault = 1"),
		"d.toml": file(small("d_fault")), "e.toml": file(small("d_fault")), "f.toml": &fstest.MapFile{Mode: fs.ModeNamedPipe}}
	s, err := ladder.Load(nil, nil, nil, packaged, own)
	if len(s) != 2 || s["a_fault"] == nil || s["b_fault"] == nil || s["b_fault"].Help != "ours" {
		t.Errorf("%v", s)
	}
	for _, want := range []string{"c.toml:1:9: fault", "e.toml:1:1: d.toml is for d_fault, too: neither is in force", "f.toml: not a plain file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant\n%s", err, want)
		}
	}
	strange := func(info fs.FileInfo) error {
		if info.Name() == "a.toml" {
			return errors.New("belongs to user 7")
		}
		return nil
	}
	if s, err := ladder.Load(strange, nil, packaged); len(s) != 2 || err == nil || err.Error() != "a.toml: belongs to user 7" {
		t.Errorf("%v, %v", s, err)
	}
	if s, err := ladder.Load(nil, nil); len(s) != 0 || err != nil {
		t.Errorf("no directories: %v, %v", s, err)
	}
}

func TestTheTextBeforeStaysInForceWhereTheNewOneIsWrong(t *testing.T) {
	small := func(help string) string {
		return "fault='f'\nhelp='" + help + "'\nsymptom='z'\n[[rung]]\nname='a'\ndo='ask'\n"
	}
	last := ladder.Last{}
	load := func(text string) (string, error) {
		s, err := ladder.Load(nil, last, fstest.MapFS{"f.toml": {Data: []byte(text), Mode: 0o644}})
		if s["f"] == nil {
			return "", err
		}
		return s["f"].Help, err
	}
	for _, tt := range []struct{ text, help, want string }{
		{"fault = 1", "", "f.toml:1:9"},
		{small("one"), "one", ""},
		{"fault = 1", "one", "the one before stays in force"},
		{small("two"), "two", ""},
		{strings.Repeat("#", ladder.MaxBytes+1), "two", "the one before stays in force"},
	} {
		help, err := load(tt.text)
		if help != tt.help || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.20q: %q, %v", tt.text, help, err)
		}
		again, err := ladder.ParseLast(last.Encode())
		if err != nil || !maps.Equal(again, last) {
			t.Errorf("%v became %v, %v", last, again, err)
		}
	}
	if s, err := ladder.Load(nil, last, fstest.MapFS{}); len(s) != 0 || len(last) != 0 || err != nil {
		t.Errorf("a file that is gone is out of force: %v, %v, %v", s, last, err)
	}
	for _, text := range []string{"", "[]", `{"a":1}`, `{"a":"b"`, strings.Repeat(" ", ladder.LastBytes+1)} {
		if l, err := ladder.ParseLast([]byte(text)); err == nil {
			t.Errorf("%.20q: %v", text, l)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(leak))
	f.Add([]byte("upstream = true\n" + leak))
	f.Add([]byte("fault='x'\nhelp='y'\nsymptom='z'\nrung=[{name='a',do='update.rollback',args={kind='content'}}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ladder.Parse("p", text)
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if p == nil {
			return
		}
		if len(p.Rungs) < 1 || len(p.Rungs) > ladder.MaxRungs || !ladder.IsFault(p.Fault) || p.PerHour < 1 || p.PerDay > 100 {
			t.Fatalf("%+v", p)
		}
		for _, r := range p.Rungs {
			values := map[string]string{}
			for _, name := range r.Wants() {
				values[name] = "v"
			}
			if p.Upstream && r.Restarts() {
				t.Fatalf("%+v restarts the device", r)
			}
			_, _ = r.Fill(values)
		}
	})
}
