package epl

import "time"

// A cron is when timer:at is due: for each field the values that are, as bits (Esper Reference, 7.6.6).
type cron struct{ fields [6]uint64 }

type cronField struct {
	name   string
	lo, hi int
}

var cronFields = [6]cronField{{"minutes", 0, 59}, {"hours", 0, 23}, {"days of the month", 1, 31}, {"months", 1, 12}, {"days of the week", 0, 6}, {"seconds", 0, 59}}

// after returns the first moment after t that is due, by the calendar of t's zone; ok is false when there is none within
// eight years, as of 30 February.
func (c *cron) after(t time.Time) (due time.Time, ok bool) {
	t = t.Truncate(time.Second).Add(time.Second)
	on := func(field, v int) bool { return c.fields[field]&(1<<v) != 0 }
	end := t.AddDate(8, 0, 1)
	for last := t; t.Before(end); last = t {
		y, mo, d := t.Date()
		switch {
		case !on(3, int(mo)):
			t = time.Date(y, mo+1, 1, 0, 0, 0, 0, t.Location())
		case !on(2, d), !on(4, int(t.Weekday())):
			t = time.Date(y, mo, d+1, 0, 0, 0, 0, t.Location())
		case !on(1, t.Hour()):
			t = t.Truncate(time.Minute).Add(time.Hour - time.Duration(t.Minute())*time.Minute)
		case !on(0, t.Minute()):
			t = t.Truncate(time.Minute).Add(time.Minute)
		case !on(5, t.Second()):
			t = t.Add(time.Second)
		default:
			return t, true
		}
		if !t.After(last) { // a day that begins at one o'clock, as where summer time begins at midnight
			t = last.Truncate(time.Minute).Add(time.Hour)
		}
	}
	return time.Time{}, false
}
