package remediate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/board"
	"holdfast/remediate"
	"holdfast/remediate/epl"
)

func file(text string) remediate.File { return remediate.File{Name: "cpu.epl", Text: text} }

// status is a round in which the processor is so busy.
func (r *rig) busy(percent float64) { r.take(sample("cpu", "", "busy_ratio", percent/100)) }

const seed = `select * from pattern [ every dev=DeviceStatus(cpuUtilization > 90) ]`

func TestTheSeedsStatementRaisesOnceAndEndsWhenItIsQuiet(t *testing.T) {
	r := newRig(t, file(seed))
	for range 30 {
		r.busy(95)
		r.wait(10 * time.Second)
	}
	first := r.told[0]
	values, _ := first["values"].(map[string]any)
	dev, _ := values["dev"].(map[string]any)
	if first["severity"] != "warning" || first["rule"] != "cpu-1" || dev["cpuUtilization"] != 95.0 || first["count"] != 1.0 {
		t.Errorf("raised = %v", first)
	}
	r.want("busy for five minutes", "raised cpu-1")
	if s := r.Standing(); len(s.Open) != 1 || s.Open[0].Count != 30 || !s.Open[0].Since.Equal(noon) {
		t.Errorf("open = %+v", s.Open)
	}
	r.wait(14*time.Minute + 40*time.Second)
	r.want("fourteen quiet minutes")
	r.wait(20 * time.Second)
	if m := r.told[0]; m["reason"] != "nothing matched for 15m0s" || m["count"] != 30.0 {
		t.Errorf("cleared = %v", m)
	}
	r.want("fifteen quiet minutes", "cleared cpu-1")
	if at := r.Next(); !at.IsZero() && at.Before(r.now) {
		t.Errorf("something is due in the past: %v", at)
	}
}

const diskRules = `@name('full') @severity('critical') @remind(1 hour) @repair('tidy') @description('{mount} is {p} % full, {nothing} {')
select mount, 100 * used_ratio as p from Disk(used_ratio > 0.9);
@name('room') @clear('full') select mount from Disk(used_ratio < 0.8)`

func TestAlertsOfInstancesAreApartAndClearedByTheSameKey(t *testing.T) {
	r := newRig(t, file(diskRules))
	full := func(mount string, ratio float64) { r.take(sample("disk", mount, "used_ratio", ratio)) }
	full("/", 0.95123)
	if m := r.told[0]; m["description"] != "/ is 95.1 % full, {nothing} {" || m["severity"] != "critical" || m["repair"] != "tidy" {
		t.Errorf("raised = %v", m)
	}
	full("/data", 0.99)
	full("/", 0.85)
	full("/", 0.97)
	r.want("both", "raised full /", "raised full /data")
	r.wait(time.Hour)
	r.want("an hour", "reminded full /", "reminded full /data")
	full("/", 0.5)
	if m := r.told[0]; m["by"] != "room" {
		t.Errorf("cleared = %v", m)
	}
	r.want("one has room", "cleared full /")
	r.wait(2 * time.Hour)
	r.want("two hours", "reminded full /data", "reminded full /data")
	r.wait(7 * 24 * time.Hour)
	if got := r.alerts(); got[len(got)-1] != "cleared full /data" {
		t.Errorf("after a week without a match: %q", got[len(got)-1])
	}
	full("/data", 0.99)
	r.want("again", "raised full /data")
}

func TestKeysAreOfTheCatalogueOrNamed(t *testing.T) {
	for _, tt := range []struct{ statement, want string }{
		{`select * from Disk(used_ratio > 0.9)`, "map[mount:/]"},
		{`select d.mount, d.used_ratio from pattern [every d=Disk(used_ratio > 0.9)]`, "map[mount:/]"},
		{`select * from pattern [every d=Disk(used_ratio > 0.9)]`, "map[mount:/]"},
		{`select used_ratio from Disk(used_ratio > 0.9)`, "map[]"},
		{`@key('where') select mount as where2, 'x' as place from Disk(used_ratio > 0.9)`, "map[]"},
		{`@key('place, full') select mount, 'x' as place, 1 as full from Disk(used_ratio > 0.9)`, "map[full:1 place:x]"},
		{`select * from pattern [every d=Cpu(busy_ratio > 0.9)]`, "map[core:]"},
		{`select * from pattern [every [2] d=Disk(used_ratio > 0.9)]`, "map[]"},
	} {
		r := newRig(t, file(tt.statement))
		r.take(sample("disk", "/", "used_ratio", 0.95), sample("disk", "/", "used_ratio", 0.95), sample("cpu", "", "busy_ratio", 0.95))
		open := r.Standing().Open
		if len(open) != 1 || fmt.Sprint(open[0].Key) != tt.want {
			t.Errorf("%s: %+v, want %s", tt.statement, open, tt.want)
		}
	}
}

func TestALimitIsTheShadowsOfNow(t *testing.T) {
	r := newRig(t, file(`select cpuUtilization from DeviceStatus(cpuUtilization > limit('cpu'))`))
	r.busy(80)
	r.want("below")
	r.limits["cpu"] = 70
	r.busy(80)
	r.want("above", "raised cpu-1")
}

func TestOpenAlertsSurviveARestart(t *testing.T) {
	r := newRig(t, file(diskRules))
	r.take(sample("disk", "/", "used_ratio", 0.95), sample("disk", "/data", "used_ratio", 0.95))
	r.Tick()
	r.take(sample("disk", "/boot", "used_ratio", 0.95))
	r.wait(15 * time.Second)
	r.alerts()
	r.now = noon.Add(time.Hour)
	r.start(file(diskRules))
	open := r.Standing().Open
	if len(open) != 3 || open[0].Key["mount"] != "/" || !open[0].Since.Equal(noon) || open[0].Severity != "critical" || open[0].Description == "" {
		t.Fatalf("open = %+v", open)
	}
	r.take(sample("disk", "/", "used_ratio", 0.95), sample("disk", "/data", "used_ratio", 0.5))
	r.want("after the restart", "cleared full /data")
	r.wait(time.Minute)
	r.start(file(seed))
	r.want("after its rules were removed", "cleared full /", "cleared full /boot")
	r.wait(time.Minute)
	r.start(file(diskRules))
	if open := r.Standing().Open; len(open) != 0 {
		t.Errorf("open = %+v", open)
	}
}

// A rule that matches every second is written once, and alerts that come and go every second six times a minute.
func TestTheDiskIsWrittenWhenAlertsComeOrGoAndNotOften(t *testing.T) {
	r := newRig(t, file(diskRules))
	writes := 0
	r.files = counted{r.files, &writes}
	r.start(file(diskRules))
	for range 600 {
		r.take(sample("disk", "/", "used_ratio", 0.95))
		r.wait(time.Second)
	}
	if writes != 1 {
		t.Errorf("%d writes of an alert that stays, want 1", writes)
	}
	for range 60 {
		r.take(sample("disk", "/", "used_ratio", 0.5))
		r.take(sample("disk", "/", "used_ratio", 0.95))
		r.wait(time.Second)
	}
	if writes < 6 || writes > 8 {
		t.Errorf("%d writes after a minute of coming and going, want 1 every ten seconds", writes)
	}
}

// counted counts what is written.
type counted struct {
	board.Files
	writes *int
}

func (c counted) WriteFile(name string, data []byte) error {
	*c.writes++
	return c.Files.WriteFile(name, data)
}

func TestQuietIsKeptWhereAnotherRuleClears(t *testing.T) {
	r := newRig(t, file("@quiet(1 hour)"+diskRules))
	r.take(sample("disk", "/", "used_ratio", 0.95))
	r.wait(time.Hour)
	r.want("an hour", "raised full /", "cleared full /")
}

func TestADamagedBookIsForgottenAndSaid(t *testing.T) {
	for _, doc := range [][]byte{[]byte("x"), board.Seal([]byte(`[{"rule":1}]`)), board.Seal([]byte(`{}`)), make([]byte, 1<<20)} {
		r := newRig(t, file(diskRules))
		if err := r.files.WriteFile("alerts.json", doc); err != nil {
			t.Fatal(err)
		}
		r.start(file(diskRules))
		r.take(sample("disk", "/", "used_ratio", 0.95))
		r.want("after the damage", "raised full /")
	}
}

func TestAStormIsToldAsOne(t *testing.T) {
	r := newRig(t, file(`select line from GpioEdge(level = 1); @clear('cpu-1') select line from GpioEdge(level = 0)`))
	for i := range 1000 {
		r.take(sample("gpio_edge", fmt.Sprint("line", i%50), "level", 1))
		r.take(sample("gpio_edge", fmt.Sprint("line", i%50), "level", 0))
		r.wait(10 * time.Millisecond)
	}
	if got := r.alerts(); len(got) != 20 {
		t.Errorf("%d events in ten seconds, want 20", len(got))
	}
	r.wait(time.Minute)
	if len(r.told) != 1 || r.told[0]["count"] != 1980.0 || fmt.Sprint(r.told[0]["rules"]) != "map[cpu-1:map[cleared:990 raised:990]]" {
		t.Errorf("summary = %v", r.told)
	}
	r.want("summary", "summary")
	r.take(sample("gpio_edge", "door", "level", 1))
	r.want("after the storm", "raised cpu-1")
}

func TestAlertsThatAreOpenAreBounded(t *testing.T) {
	r := newRig(t, file(`select line from GpioEdge(level = 1)`))
	for i := range 1000 {
		r.take(sample("gpio_edge", fmt.Sprint(i, strings.Repeat("x", 200)), "level", 1))
	}
	if s := r.Standing(); len(s.Open) != 128 || s.Lost != 1000-128 {
		t.Errorf("%d are open, %d lost", len(s.Open), s.Lost)
	}
	r.wait(20 * time.Second)
	r.start(file(`select line from GpioEdge(level = 1)`))
	if n, names := r.OpenNames(5); n != 128 || len(names) != 5 || len(names[0]) > 64 {
		t.Errorf("after a restart %d are open: %q", n, names)
	}
}

func TestABadFileLeavesTheRulesInForce(t *testing.T) {
	good := remediate.File{Name: "good.epl", Text: diskRules}
	r := newRig(t, good)
	_, hash, _ := r.Reported()
	other := remediate.File{Name: "good.epl", Text: strings.Replace(diskRules, "0.8", "0.7", 1)}
	err := r.Load([]remediate.File{other, {Name: "bad.epl", Text: "select cpu from\nDeviceStatsu"}}, nil)
	var at *epl.Error
	if !errors.As(err, &at) || at.File != "bad.epl" || at.Line != 2 || at.Column != 1 || !strings.Contains(at.Error(), "DeviceStatus") {
		t.Errorf("error = %v", err)
	}
	if n, now, fault := r.Reported(); n != 2 || now != hash || !strings.HasPrefix(fault, "bad.epl:2:1: ") {
		t.Errorf("in force: %d rules, %s, %s", n, now, fault)
	}
	if m := r.told[0]; m["kind"] != "rules" || m["phase"] != "refused" || m["in_force"] != hash {
		t.Errorf("told %v", m)
	}
	r.take(sample("disk", "/", "used_ratio", 0.95))
	r.want("still", "raised full /")
	if err := r.Load(nil, errors.New("unreadable")); err == nil {
		t.Error("unreadable files are no error")
	}
	if n, _, _ := r.Reported(); n != 2 {
		t.Errorf("%d rules in force", n)
	}
	if err := r.Load([]remediate.File{good}, nil); err != nil {
		t.Error(err)
	}
	if _, _, fault := r.Reported(); fault != "" {
		t.Errorf("fault = %s", fault)
	}
}

// With nothing in force yet, what is right is better than nothing.
func TestAtTheStartTheFilesThatAreRightComeIntoForce(t *testing.T) {
	r := newRig(t)
	r.begin()
	err := r.Load([]remediate.File{{Name: "bad.epl", Text: "select"}, {Name: "good.epl", Text: diskRules}}, nil)
	if n, _, fault := r.Reported(); err == nil || n != 2 || !strings.HasPrefix(fault, "bad.epl:1:7: ") {
		t.Errorf("%d rules in force, fault %q, %v", n, fault, err)
	}
}

func TestWhatDidNotChangeKeepsItsState(t *testing.T) {
	const slow = `@name('slow') select a.mount from pattern [every a=Disk(used_ratio > 0.9) -> timer:interval(1 min)]`
	r := newRig(t, file(slow))
	r.take(sample("disk", "/", "used_ratio", 0.95))
	r.wait(30 * time.Second)
	if err := r.Load([]remediate.File{file("@name('new') select mount from Disk(used_ratio < 0.1);\n\n" + slow)}, nil); err != nil {
		t.Fatal(err)
	}
	r.wait(40 * time.Second)
	r.want("a minute after the event", "raised slow /")
	if err := r.Load([]remediate.File{file(strings.Replace(slow, "1 min", "2 min", 1))}, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(r.Standing().Open); n != 1 {
		t.Errorf("%d alerts are open after the rule was rewritten", n)
	}
}

func TestAStreamMayChangeBelowARuleThatDidNot(t *testing.T) {
	const user = `@name('user') select mount from Mine(x > 0)`
	r := newRig(t, file(`insert into Mine select mount, used_ratio as x from Disk;`+user))
	if err := r.Load([]remediate.File{file(`insert into Mine select mount, 1 as x, 2 as y from Disk;` + user)}, nil); err != nil {
		t.Fatal(err)
	}
	r.take(sample("disk", "/", "used_ratio", 0.5))
	r.want("after the change", "raised user /")
}

func TestOverflowsAreToldWhenTheyDouble(t *testing.T) {
	r := newRig(t, file(`@name('wide') select a.line from pattern [every a=GpioEdge -> b=GpioEdge(line = 'never')]`))
	told := 0
	for i := range 20_000 {
		r.take(sample("gpio_edge", fmt.Sprint(i), "level", 1))
		r.Overflows()
		told += len(r.told)
		r.told = nil
	}
	if told < 3 || told > 20 {
		t.Errorf("told %d times", told)
	}
}

func TestWhatIsWrongWithAnnotationsIsNamed(t *testing.T) {
	const plain = ` select mount from Disk`
	for _, tt := range []struct{ text, want string }{
		{"\n @severity('bad')" + plain, `cpu.epl:2:2: @severity("bad") (it is 'critical', 'warning' or 'info')`},
		{"@severty('info')" + plain, "there is no annotation @severty"},
		{"@owner('me')" + plain, "there is no annotation @owner"},
		{"@remind('x')" + plain, "@remind wants a time of at least 1 sec"},
		{"@quiet(10 msec)" + plain, "@quiet wants a time of at least 1 sec"},
		{"@name('a')" + plain + ";@name('a')" + plain, "another rule is called a"},
		{"@name('full')" + plain + ";@clear('ful')" + plain, `@clear names "ful", and no rule of this name raises an alert (did you mean full?)`},
		{"@name('')" + plain, "1 to 64 bytes"},
		{"@name('" + strings.Repeat("x", 65) + "')" + plain, "1 to 64 bytes"},
		{"@tag('x')" + plain + "; select", "cpu.epl:1:"},
	} {
		if err := remediate.Check([]remediate.File{file(tt.text)}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.text, err, tt.want)
		}
	}
	if err := remediate.Check([]remediate.File{file("@tag('x') @Name('y')" + plain)}); err != nil {
		t.Error(err)
	}
	var many []remediate.File
	for i := range 65 {
		many = append(many, remediate.File{Name: fmt.Sprint(i), Text: plain})
	}
	if err := remediate.Check(many); err == nil {
		t.Error("65 files are taken")
	}
	if err := remediate.Check([]remediate.File{file(strings.Repeat(plain+";", 257))}); err == nil {
		t.Error("257 rules are taken")
	}
}

func TestAClearingRuleRaisesNothingUnlessItIsSevere(t *testing.T) {
	r := newRig(t, file(`@name('full') select mount from Disk(used_ratio > 0.9); @name('room') @clear('full') @severity('info') select mount from Disk(used_ratio < 0.8)`))
	r.take(sample("disk", "/", "used_ratio", 0.95))
	r.take(sample("disk", "/", "used_ratio", 0.5))
	if got := r.alerts(); !slices.Equal(got, []string{"raised full /", "cleared full /", "raised room /"}) {
		t.Errorf("%q", got)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(diskRules)
	f.Add(seed)
	for _, s := range starter(f) {
		f.Add(s.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := []remediate.File{{Name: "x.epl", Text: text}}
		if remediate.Check(files) != nil {
			return
		}
		r := newRig(t, files...)
		m := wellMachine()
		for i := range 20 {
			m.disk, m.cpu, m.hot = float64(i%2), float64(i%3)/2, float64(50+10*i)
			r.wait(30 * time.Second)
			r.take(m.round(r.now.Sub(noon))...)
		}
		if s := r.Standing(); len(s.Open) > 128 {
			t.Errorf("%d alerts are open", len(s.Open))
		}
		r.start(files...)
	})
}
