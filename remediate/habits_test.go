package remediate_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// live plays days of a machine whose processor works by day, half a minute a round. more is added to its load.
func (r *rig) live(d time.Duration, more float64) {
	noise := rand.New(rand.NewPCG(1, uint64(r.now.Unix())))
	for end := r.now.Add(d); r.now.Before(end); r.now = r.now.Add(30 * time.Second) {
		day := 20 + 15*math.Sin(2*math.Pi*float64(r.now.Unix()%86400)/86400)
		r.take(sample("cpu", "", "busy_ratio", (day+3*noise.NormFloat64()+more)/100))
	}
}

func TestWhatNobodyCanNameIsUnknownAndOnlyTold(t *testing.T) {
	r := newRig(t, file(`@name('hog') @repair('cpu_hog') select cpuUtilization from DeviceStatus(cpuUtilization > 98); @name('calm') @clear('hog') select * from DeviceStatus(cpuUtilization < 98)`))
	r.live(5*24*time.Hour, 0)
	r.diagnosed("days as usual")
	r.live(15*time.Minute, 50)
	if len(r.told) != 1 {
		t.Fatalf("told %v", r.told)
	}
	reasons, _ := r.told[0]["reasons"].([]any)
	if len(reasons) == 0 || reasons[0].(map[string]any)["measure"] != "cpuUtilization" {
		t.Errorf("reasons %v", reasons)
	}
	r.diagnosed("far more than usual", "named unknown habit")
	if len(r.asks) != 0 {
		t.Errorf("asked %v", r.asks)
	}
	r.take(sample("cpu", "", "busy_ratio", 0.99))
	r.diagnosed("a rule has a name for it", "over unknown habit", "named cpu_hog rule")
	r.take(sample("cpu", "", "busy_ratio", 0.3))
	r.now = r.now.Add(30 * time.Second)
	r.told = nil
	r.live(2*time.Hour, 0)
	r.diagnoses()
	r.live(15*time.Minute, 50)
	r.diagnosed("again", "named unknown habit")
	r.live(30*time.Minute, 0)
	r.diagnosed("as usual again", "over unknown habit")
}

func TestHabitsAreKeptEverySixHoursAndAtTheEnd(t *testing.T) {
	r := newRig(t)
	written := func() []byte { b, _ := r.files.ReadFile("habits", 1<<20); return b }
	r.live(5*time.Hour, 0)
	if len(written()) != 0 {
		t.Error("written within the first hours")
	}
	r.live(2*time.Hour, 0)
	first := written()
	if len(first) == 0 || len(first) > 16<<10 {
		t.Fatalf("%d bytes after six hours", len(first))
	}
	r.live(4*24*time.Hour-time.Hour, 0)
	r.Rest()
	if last := written(); bytes.Equal(first, last) {
		t.Error("not written at the end")
	}
	r.begin()
	r.live(time.Hour, 0)
	r.told = nil
	r.live(15*time.Minute, 50)
	r.diagnosed("after a restart it is known what is usual", "named unknown habit")
	if err := r.files.WriteFile("habits", []byte("spoilt")); err != nil {
		t.Fatal(err)
	}
	r.begin()
	r.live(time.Hour, 0)
	r.live(15*time.Minute, 50)
	r.diagnosed("learned anew")
	if s := fmt.Sprint(r.Standing().Diagnoses); s != "[]" {
		t.Error(s)
	}
}
