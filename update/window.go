package update

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Window is a span of each day at which the device may restart. The zero value is always open.
type Window struct {
	from, to int // minutes since midnight, to exclusive; from > to spans midnight
	utc      bool
}

// ParseWindow reads "22:30-05:00", in the device's local time, or with a Z at the end in UTC. Empty is always open.
func ParseWindow(s string) (Window, error) {
	if s == "" {
		return Window{}, nil
	}
	body, utc := strings.CutSuffix(s, "Z")
	from, to, ok := strings.Cut(body, "-")
	w := Window{utc: utc}
	var err error
	if ok {
		if w.from, err = minutes(from); err == nil {
			w.to, err = minutes(to)
		}
	}
	if !ok || err != nil || w.from == w.to {
		return Window{}, fmt.Errorf("window %.40q: wants two times of day such as 22:30-05:00, with Z for UTC", s)
	}
	return w, nil
}

func minutes(s string) (int, error) {
	h, m, ok := strings.Cut(s, ":")
	hours, err := strconv.Atoi(h)
	mins, err2 := strconv.Atoi(m)
	if !ok || err != nil || err2 != nil || len(h) != 2 || len(m) != 2 || hours < 0 || hours > 24 || mins < 0 || mins > 59 || hours == 24 && mins > 0 {
		return 0, fmt.Errorf("time of day %.20q", s)
	}
	return hours*60 + mins, nil
}

// Opens returns how long after now the window opens: 0 when it is open.
func (w Window) Opens(now time.Time) time.Duration {
	if w.from == w.to {
		return 0
	}
	if w.utc {
		now = now.UTC()
	}
	day := now.Hour()*60 + now.Minute()
	open := w.from <= day && day < w.to
	if w.from > w.to {
		open = day >= w.from || day < w.to
	}
	if open {
		return 0
	}
	wait := time.Duration((w.from-day+24*60)%(24*60)) * time.Minute
	return wait - time.Duration(now.Second())*time.Second - time.Duration(now.Nanosecond())
}
