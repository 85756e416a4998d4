package ladder_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/remediate/ladder"
)

const (
	minute = int64(60_000)
	hour   = 60 * minute
	day    = 24 * hour
)

// playbook returns one with the deeds as rungs.
func playbook(t *testing.T, fault, head string, deeds ...string) *ladder.Playbook {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "fault='%s'\nhelp='y'\nsymptom='z'\n%s\n", fault, head)
	for i, do := range deeds {
		fmt.Fprintf(&b, "[[rung]]\nname='r%d'\ndo='%s'\n", i, do)
	}
	p, err := ladder.Parse(fault+".toml", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A desk keeps a book as its driver does, with a back-off of nothing.
type desk struct {
	t *testing.T
	b *ladder.Book
	p *ladder.Playbook
}

func (d *desk) step(now int64, rung int) {
	d.t.Helper()
	d.b.Advance(now)
	if err := d.b.Begin(d.p, rung, "boot", nil); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) end(now int64, helped bool, boot string) {
	d.b.Advance(now)
	d.b.End(helped, boot, 7)
}

func TestARungUpWithinTheHourAndOneDownForEachHourOfHealth(t *testing.T) {
	d := &desk{t, ladder.NewBook(), playbook(t, "x", "per_hour=20\nper_day=100", "clean", "unit.restart", "reboot", "ask")}
	at := func(now int64, want int) {
		t.Helper()
		d.b.Advance(now)
		if got := d.b.Rung(d.p); got != want {
			t.Errorf("at %d min the next rung is %d, want %d", now/minute, got, want)
		}
	}
	at(0, 0)
	d.step(0, 0)
	d.end(minute, true, "boot")
	at(2*minute, 1)      // it comes again within the hour
	at(minute+hour-1, 1) // still
	at(minute+hour, 0)   // an hour of health
	d.step(2*hour, 0)    // again from the first
	d.end(2*hour, false, "boot")
	d.step(2*hour+minute, 1) // it did not help: the next
	d.end(2*hour+2*minute, false, "boot")
	d.step(2*hour+3*minute, 2)
	d.end(2*hour+4*minute, true, "boot 2")
	at(2*hour+5*minute, 3)
	at(3*hour+4*minute, 2)
	at(4*hour+4*minute, 1)
	at(40*hour, 0)
	d.step(50*hour, 0)
	d.end(50*hour, false, "boot")
	for i, want := range []int{1, 2, 3, 3, 3} { // the last rung is the last
		d.step(50*hour+int64(i+1)*minute, want)
		d.end(50*hour+int64(i+1)*minute, false, "boot")
	}
	d.b.Advance(80 * hour)
	if known := d.b.Known(); len(known) != 0 {
		t.Errorf("what is over is still in the book: %v", known)
	}
}

func TestARungThatWasCutOffIsTriedOnceMore(t *testing.T) {
	d := &desk{t, ladder.NewBook(), playbook(t, "x", "per_hour=20\nper_day=100", "clean", "unit.restart", "reboot", "ask")}
	for i, tt := range []struct {
		rung   int
		helped bool
		boot   string
		next   int
	}{
		{0, false, "other", 0}, // cut off: nobody knows whether it was done
		{0, false, "other", 1}, // twice is once too many
		{1, true, "other", 2},  // cut off, and yet the symptom is gone
		{2, false, "other", 3}, // a reboot ends in another boot
	} {
		d.step(int64(i)*minute, tt.rung)
		d.end(int64(i)*minute, tt.helped, tt.boot)
		if got := d.b.Rung(d.p); got != tt.next {
			t.Errorf("%d: after rung %d the next is %d, want %d", i, tt.rung, got, tt.next)
		}
	}
}

func TestTheLimitsOfAFault(t *testing.T) {
	d := &desk{t, ladder.NewBook(), playbook(t, "x", "per_hour=2\nper_day=5", "clean", "ask")}
	var done []int64
	for now := int64(0); now < 3*day; now += minute {
		d.b.Advance(now)
		if d.b.Rung(d.p) == 1 {
			continue // to ask is not counted; it comes down again
		}
		if ms, _ := d.b.Wait(d.p); ms == 0 {
			d.step(now, 0)
			d.end(now, true, "boot")
			done = append(done, now)
		}
	}
	for i := range done {
		if i >= 2 && done[i]-done[i-2] < hour || i >= 5 && done[i]-done[i-5] < day {
			t.Errorf("too many around %d min", done[i]/minute)
		}
	}
	if len(done) < 12 || len(done) > 15 {
		t.Errorf("%d in three days", len(done))
	}
	d = &desk{t, ladder.NewBook(), d.p}
	d.step(0, 0)
	d.end(0, false, "boot")
	if err := d.b.Begin(d.p, 0, "boot", nil); err == nil || err.Error() != "rung 0 of x: 1 is next" {
		t.Errorf("a rung that is not next: %v", err)
	}
	d.step(hour/2, 1)
	if err := d.b.Begin(d.p, 1, "boot", nil); err == nil || err.Error() != "a repair of x is under way" {
		t.Errorf("two repairs at once: %v", err)
	}
	if h, n := d.b.Deeds("x"); h != 1 || n != 1 {
		t.Errorf("%d and %d are counted: to ask is no deed", h, n)
	}
}

func TestTheBackOffDoublesWithFullJitter(t *testing.T) {
	p := playbook(t, "x", "per_hour=20\nper_day=100", "ask")
	seen := map[int64]bool{}
	for seed := range uint64(200) {
		b := ladder.NewBook()
		var least, most [8]int64
		for i := range 8 {
			now := int64(i) // the hours of health do not come in between
			b.Advance(now)
			if err := b.Begin(p, 0, "boot", nil); err != nil {
				t.Fatal(err)
			}
			b.End(false, "boot", seed)
			ms, _ := b.Wait(p)
			least[i], most[i] = ms, ms
			if i == 0 {
				seen[ms] = true
			}
			if limit := min(minute<<i, hour); ms < 0 || ms > limit {
				t.Fatalf("seed %d: back-off %d is %d ms, at most %d", seed, i, ms, limit)
			}
		}
		if slices.Max(most[5:]) < minute && slices.Max(least[:]) < minute {
			t.Errorf("seed %d: never more than a minute: %v", seed, most)
		}
	}
	if len(seen) < 150 {
		t.Errorf("%d first back-offs of 200 devices differ", len(seen))
	}
}

func TestALostBookCountsAsUsedUpForADay(t *testing.T) {
	p := playbook(t, "x", "", "clean", "ask")
	b := ladder.UsedUp(5 * hour)
	for _, tt := range []struct {
		at   int64
		free bool
	}{{5 * hour, false}, {6 * hour, false}, {29*hour - 1, false}, {29 * hour, true}} {
		b.Advance(tt.at)
		if ms, why := b.Wait(p); (ms == 0) != tt.free {
			t.Errorf("at %d h: %d ms, %s", tt.at/hour, ms, why)
		}
	}
	// The time itself is lost: it begins anew.
	b = ladder.NewBook()
	b.Advance(100 * hour)
	if err := b.Begin(p, 0, "boot", map[string]string{"a": "b"}); err != nil {
		t.Fatal(err)
	}
	b.Advance(3 * hour)
	if ms, _ := b.Wait(p); ms != day || b.Now == nil || b.Now.AtMS != 3*hour || b.Repairs != 1 {
		t.Errorf("after the time was lost: %d ms, %+v", ms, b.Now)
	}
	if _, err := ladder.ParseBook(b.Encode()); err != nil {
		t.Error(err)
	}
}

func TestWhatNobodyEndsIsLate(t *testing.T) {
	d := &desk{t, ladder.NewBook(), playbook(t, "x", "", "clean", "ask")}
	d.step(0, 0)
	d.b.Advance(hour + 70_000 - 1) // the timeout, the settle time, and an hour
	if d.b.Late() {
		t.Error("too early")
	}
	if d.b.Advance(hour + 70_000); !d.b.Late() {
		t.Error("not late")
	}
}

// Random asking, ending, cutting and passing of time: the limits hold, the book reads back as it was written and stays within
// its bounds, a level moves by one rung at a time, and what is counted never falls.
func TestTheBookHoldsInRandomRounds(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 8 {
		randomRound(t, rng)
	}
}

func randomRound(t *testing.T, rng *rand.Rand) {
	var books []*ladder.Playbook
	for i := range 1 + rng.IntN(6) {
		perHour, perDay := 1+rng.IntN(20), 1+rng.IntN(100)
		books = append(books, playbook(t, fmt.Sprintf("f%d", i), fmt.Sprintf("per_hour=%d\nper_day=%d", perHour, perDay),
			[]string{"clean", "unit.restart", "reboot", "ask"}[:1+rng.IntN(4)]...))
	}
	b, now, boot := ladder.NewBook(), int64(0), 0
	deeds := map[string][]int64{}
	for range 700 {
		now += rng.Int64N(20 * minute)
		if rng.IntN(30) == 0 {
			now += rng.Int64N(5 * hour)
		}
		if rng.IntN(10) == 0 {
			boot++
		}
		repairs := b.Repairs
		b.Advance(now)
		p := books[rng.IntN(len(books))]
		before := b.Rung(p)
		switch {
		case b.Late() || b.Now != nil && rng.IntN(2) == 0:
			of := b.Now
			b.End(rng.IntN(2) == 0, fmt.Sprint("b", boot), seedOf(of.Fault))
			if next := b.Faults[of.Fault].Next; next > of.Rung+1 || next < of.Rung {
				t.Fatalf("from rung %d to %d", of.Rung, next)
			}
		case b.Now == nil:
			if ms, _ := b.Wait(p); ms == 0 {
				if err := b.Begin(p, before, fmt.Sprint("b", boot), map[string]string{"unit": "a.service"}); err != nil {
					t.Fatal(err)
				}
				if p.Rungs[before].Counted() {
					deeds[p.Fault] = append(deeds[p.Fault], now)
				}
			}
		}
		if b.Repairs < repairs {
			t.Fatal("what was counted has fallen")
		}
		text := b.Encode()
		read, err := ladder.ParseBook(text)
		if err != nil || len(text) > ladder.BookBytes || string(read.Encode()) != string(text) {
			t.Fatalf("%v, %d bytes: %s", err, len(text), text)
		}
		b = read
	}
	for _, p := range books {
		done := deeds[p.Fault]
		for i := range done {
			if i >= p.PerHour && done[i]-done[i-p.PerHour] < hour || i >= p.PerDay && done[i]-done[i-p.PerDay] < day {
				t.Errorf("%s: more than %d an hour or %d a day", p.Fault, p.PerHour, p.PerDay)
			}
		}
	}
}

func seedOf(s string) uint64 { return uint64(len(s)) }

func TestAFullBookFits(t *testing.T) {
	b := ladder.NewBook()
	now := int64(1) << 52
	var err error
	for i := 0; err == nil && i < 2000; i++ {
		b.Advance(now + int64(i))
		p := playbook(t, fmt.Sprintf("%s%02d", strings.Repeat("f", 30), i%64), "per_hour=20\nper_day=100", "clean", "clean")
		values := map[string]string{}
		for j := range 4 {
			values[fmt.Sprint("v", j)] = strings.Repeat("<", 256) // which JSON spells \u003c
		}
		if err = b.Begin(p, b.Rung(p), "boot", values); err == nil {
			if text := b.Encode(); len(text) > ladder.BookBytes {
				t.Fatalf("%d bytes", len(text))
			}
			b.End(false, "boot", 1)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "600 repairs in a day") {
		t.Errorf("a book without end: %v", err)
	}
}

func TestValuesAreFlatAndShort(t *testing.T) {
	got, err := ladder.ParseValues(`{"unit":"a.service","n":104857600,"ratio":0.25,"on":true,"none":null,"count(*)":7,"line":"a\u001bb","two":"a\nb","long":"` + strings.Repeat("x", 257) + `"}`)
	want := map[string]string{"unit": "a.service", "n": "104857600", "ratio": "0.25", "on": "true"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ladder.ParseValues(""); err != nil || len(got) != 0 {
		t.Errorf("no values: %v, %v", got, err)
	}
	for _, text := range []string{`[]`, `{"a":{}}`, `{"a":[]}`, `{"a":1,"a":2}`, `{"a":1} ` + "x",
		`{"a":"` + strings.Repeat("x", 1024) + `"}`} {
		if got, err := ladder.ParseValues(text); err == nil {
			t.Errorf("%.40s: %v", text, got)
		}
	}
}

func FuzzParseBook(f *testing.F) {
	f.Add(ladder.NewBook().Encode())
	f.Add(ladder.UsedUp(7).Encode())
	f.Add([]byte(`{"at_ms":9,"repairs":1,"faults":{"x":{"next":1,"tries":1,"since_ms":9,"ready_ms":9,"cuts":0,"deeds_ms":[1,2]}},"now":{"fault":"x","rung":0,"name":"r","boot":"b","restarts":false,"at_ms":9,"until_ms":10,"values":{"a":"b"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := ladder.ParseBook(text)
		if err != nil {
			return
		}
		p := &ladder.Playbook{Fault: "x", PerHour: 2, PerDay: 3, Rungs: []ladder.Rung{{Name: "r", Deed: ladder.Deed{Do: "clean"}}}}
		at := b.AtMS
		b.Advance(at + 1)
		_, _ = b.Wait(p)
		b.End(false, "y", 1)
		_ = b.Begin(p, 0, "y", nil)
		b.Advance(at / 2)
		if _, err := ladder.ParseBook(b.Encode()); err != nil && at < 1<<52 {
			t.Errorf("%v: %s", err, b.Encode())
		}
	})
}
