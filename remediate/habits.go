package remediate

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"time"

	"holdfast/remediate/habit"
)

// habitsName is the document of what is usual here. It is written every six hours and at an orderly end: a board whose
// power is cut each evening learns as well, and 25 KB a day are nothing to its flash.
const habitsName = "habits"

const (
	habitsBytes = 64 << 10
	habitsPause = 6 * time.Hour
	habitsLeast = time.Hour // between two orderly ends that are written
)

// habitual are the properties of DeviceStatus that have habits. Those that only grow, and truths, have none.
var habitual = []string{
	"cpuUtilization", "cpuIowait", "load", "memoryUtilization", "swapUtilization", "diskUtilization", "diskRead", "diskWrite", "diskAwait",
	"networkReceive", "networkTransmit", "networkDrops", "temperature", "processes", "threads", "openFiles", "forks", "unitMemory", "unitTasks",
	"gatewayDelay", "dnsDelay", "brokerDelay",
}

// habits are what is usual here, for what nobody can name.
type habits struct {
	book    *habit.Book
	indexes []int // of statusMeasures
	row     []float32
	written time.Time
}

// recallHabits begins with what was learned before. A book that is damaged, or of another version's measures, is begun anew.
func (r *Rules) recallHabits() {
	h := &r.habits
	h.book, h.row, h.written = habit.New(habitual), make([]float32, len(habitual)), r.origin
	names := StatusNames()
	for _, name := range habitual {
		h.indexes = append(h.indexes, slices.Index(names, name))
	}
	text, err := r.o.Files.ReadFile(habitsName, habitsBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = h.book.Decode(text)
	}
	if err != nil {
		r.o.Log.Warn("what is usual here is learned anew", "err", err)
	}
}

// usual takes the DeviceStatus that was just sent, and names what is not as usual unknown, where nobody names it anything else.
func (r *Rules) usual(now time.Time) {
	h := &r.habits
	for i, index := range h.indexes {
		n, ok := r.feed.status.vals[1+index].Float()
		if !ok {
			n = math.NaN()
		}
		h.row[i] = float32(n)
	}
	r.keepHabits(now, habitsPause)
	h.book.Add(now.Sub(r.origin), now, r.o.Clock.Trusted(), h.row)
	odd := h.book.Unusual()
	mine := func(d *Diagnosis) bool { return d.By == ByHabit }
	switch named := r.chart.has(func(*Diagnosis) bool { return true }); {
	case len(odd) == 0:
		r.chart.over("all is as usual", false, mine)
	case !named:
		d := &Diagnosis{Fault: Unknown, By: ByHabit}
		for _, o := range odd {
			d.Reasons = append(d.Reasons, Reason{Measure: o.Name, Value: digits(float64(o.Value)), Usual: digits(float64(o.Usual)), Weight: digits(float64(o.Score))})
		}
		r.chart.named(now, d, false)
		r.o.Log.Warn("something is not as usual", "measure", odd[0].Name, "value", odd[0].Value, "usual", odd[0].Usual)
	}
}

// keepHabits writes down what was learned, when it is time.
func (r *Rules) keepHabits(now time.Time, pause time.Duration) {
	h := &r.habits
	if now.Sub(h.written) < pause {
		return
	}
	h.written = now
	if err := r.o.Files.WriteFile(habitsName, h.book.Encode()); err != nil {
		r.o.Log.Warn("habits", "err", fmt.Errorf("write %s: %w", habitsName, err))
	}
}
