package demo

import (
	"context"
	_ "embed" // of the model
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"time"

	"holdfast/cmd/holdfastctl/internal/message"
)

// What the leaking program takes: LeakStep each leakPause, and no more than leakMost, so that no machine is hurt. Sound, it takes up to
// leakBurst now and then, and gives it back.
const (
	LeakStep  = 2 << 20
	leakPause = 100 * time.Millisecond
	leakMost  = 256 << 20
	leakBurst = 20 << 20
)

// Leak is a program that has ballast bytes and works with some memory beside, and from a signal on takes step bytes each leakPause and never
// gives them back. It returns when ctx ends.
func Leak(ctx context.Context, step, ballast int) error {
	begin := make(chan os.Signal, 1) // one is enough
	signal.Notify(begin, leakSignal)
	defer signal.Stop(begin)
	tick := time.NewTicker(leakPause)
	defer tick.Stop()
	if _, err := grab(ballast); err != nil {
		return err
	}
	var work []byte
	leaking, taken := false, 0
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-begin:
			leaking = true
		case <-tick.C:
			var err error
			switch n++; n % 60 { // every six seconds, for two
			case 20:
				work, err = grab(rand.IntN(leakBurst))
			case 40:
				err = drop(work)
			}
			if leaking && taken+step <= leakMost && err == nil {
				_, err = grab(step)
				taken += step
			}
			if err != nil {
				return err
			}
		}
	}
}

// leakModel knows a leak of a unit's memory. It is made of recordings of this program (leak_test.go).
//
//go:embed leak.hfm
var leakModel []byte

// leakRules raise an alert about a unit's memory. They do not say what is wrong: that is left to the model.
const leakRules = `@name('unit-memory') @severity('warning') @description('{unit} has {megabytes} MB')
select unit, memory_bytes / 1000000 as megabytes from UnitState(memory_bytes > 100000000);

@name('unit-memory-again') @clear('unit-memory')
select unit from UnitState(memory_bytes < 90000000);
`

// leakPlaybook restarts the unit that has so much.
const leakPlaybook = `fault = "mem_leak"
help = "a unit takes memory without end"
precondition = "select unit from UnitState(memory_bytes > 100000000)"
symptom = "select unit from UnitState(memory_bytes > 100000000)"
windows = 3
[[rung]]
name = "restart"
do = "unit.restart"
args = { unit = "{unit}" }
settle = "500ms"
`

// A diagnosis is one event of a diagnosis.
type diagnosis struct {
	Phase      string  `json:"phase"`
	Fault      string  `json:"fault"`
	By         string  `json:"by"`
	Confidence float64 `json:"confidence"`
	Model      string  `json:"model"`
	Reasons    []struct {
		Measure string  `json:"measure"`
		Stat    string  `json:"stat"`
		Value   float64 `json:"value"`
		Usual   float64 `json:"usual"`
	} `json:"reasons"`
	Time time.Time `json:"time"`
}

// A repair is one event of a repair.
type repair struct {
	Phase  string             `json:"phase"`
	Fault  string             `json:"fault"`
	Do     string             `json:"do"`
	Reason string             `json:"reason"`
	Error  string             `json:"error"`
	Before map[string]float64 `json:"before"`
	After  map[string]float64 `json:"after"`
	Time   time.Time          `json:"time"`
}

// short is a number as people read it.
func short(x float64) string {
	if x >= 1e6 {
		return fmt.Sprintf("%.1f million", x/1e6)
	}
	return fmt.Sprintf("%.4g", x)
}

// heal has a service leak for real, and sees it noticed, named, restarted and well again.
func (s *stage) heal(ctx context.Context) (string, error) {
	w := s.watch
	from := len(w.alerts)
	before, ok := s.service.look(ctx)
	if !ok {
		return "", fmt.Errorf("%s does not run", serviceName)
	}
	s.tell.say("A service begins to take %d MB a second, and gives nothing back.", LeakStep*int(time.Second/leakPause)>>20)
	s.service.leak(ctx)
	began := time.Now()
	if err := s.await(ctx, "the alert", func() bool { return len(w.alerts) > from }); err != nil {
		return "", err
	}
	a := w.alerts[from]
	if a.Rule != "unit-memory" || a.Phase != "raised" {
		return "", fmt.Errorf("the alert should be of unit-memory: it is %s of %s", message.Clean(a.Phase, 20), message.Clean(a.Rule, 60))
	}
	s.tell.fact("alert", "%s", message.Clean(a.Description, 100))
	if err := s.await(ctx, "the diagnosis", func() bool { return len(w.diagnoses) > 0 }); err != nil {
		return "", err
	}
	d := w.diagnoses[0]
	if d.Phase != "named" || d.Fault != "mem_leak" || d.By != "forest" || len(d.Reasons) == 0 {
		return "", fmt.Errorf("the diagnosis should be mem_leak by the forest, with reasons: it is %s %s by %s", d.Phase, message.Clean(d.Fault, 40), message.Clean(d.By, 20))
	}
	s.tell.fact("diagnosis", "%s at %.2f, by model %s", message.Clean(d.Fault, 40), d.Confidence, message.Clean(d.Model, 12))
	for _, r := range d.Reasons {
		s.tell.fact("", "because the %s of %s is %s, and usually %s", message.Clean(r.Stat, 10), message.Clean(r.Measure, 40), short(r.Value), short(r.Usual))
	}
	told := 0
	if err := s.await(ctx, "the end of the repair", func() bool {
		for ; told < len(w.repairs); told++ {
			if r := w.repairs[told]; r.Phase != "helped" {
				s.tell.fact(message.Clean(r.Phase, 10), "%s", message.Clean(strings.TrimSpace(r.Do+" "+r.Reason+r.Error), 100))
			}
		}
		return told > 0 && (w.repairs[told-1].Phase == "helped" || w.repairs[told-1].Phase == "not_helped" || w.repairs[told-1].Phase == "failed")
	}); err != nil {
		return "", err
	}
	last := w.repairs[len(w.repairs)-1]
	after, _ := s.service.look(ctx)
	switch {
	case last.Phase != "helped":
		return "", fmt.Errorf("the repair should have helped: it %s", message.Clean(last.Phase, 20))
	case after.started != before.started+1 || after.pid == before.pid:
		return "", fmt.Errorf("the service should have been started once more: %d processes, and %d before", after.started, before.started)
	}
	s.tell.fact("helped", "%s had %.0f MB, and has %.0f", serviceName, last.Before["unitMemory"]/1e6, last.After["unitMemory"]/1e6)
	if err := s.await(ctx, "the alert cleared", func() bool { return w.alerts[len(w.alerts)-1].Phase == "cleared" }); err != nil {
		return "", err
	}
	return fmt.Sprintf("noticed, named, restarted and well again in %.1f s", time.Since(began).Seconds()), nil
}
