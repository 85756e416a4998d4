package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// Temperature measures every sensor of the thermal and the hwmon class. gopsutil reads the one only where there is none
// of the other.
type Temperature struct {
	Root string           // empty is "/"
	Now  func() time.Time // nil is time.Now

	r       reader
	sensors []sensor
	listed  time.Time
}

// A sensor is a file with a number of millidegrees.
type sensor struct{ instance, path string }

// relistAfter is how long a list of sensors is believed: modules load seldom, and a walk through /sys costs more than
// all sensors.
const relistAfter = 10 * time.Minute

// Name is "temperature".
func (*Temperature) Name() string { return "temperature" }

// Collect emits a sample for each sensor that is awake.
func (t *Temperature) Collect(_ context.Context, emit collectors.Emit) error {
	now := time.Now
	if t.Now != nil {
		now = t.Now
	}
	if n := now(); t.listed.IsZero() || len(t.sensors) == 0 || n.Sub(t.listed) >= relistAfter {
		t.listed = n
		t.sensors = sensors(t.Root + "/sys/class")
	}
	if len(t.sensors) == 0 {
		return fmt.Errorf("%w: %s, hwmon", collectors.ErrNoData, filepath.Join("/", t.Root, "sys/class/thermal"))
	}
	var faults []error
	for _, s := range t.sensors {
		celsius, err := t.celsius(s.path)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, collectors.ErrNoData):
			t.listed = time.Time{} // a sensor has gone: list them anew next time
		case asleep(err):
		case err != nil:
			faults = append(faults, err)
		default:
			sample := fieldsOf("temperature", s.instance, 1)
			sample.Num("temperature_celsius", celsius)
			emit(sample)
		}
	}
	return errors.Join(faults...)
}

// asleep reports whether the sensor merely has nothing to say now: powered down (EINVAL, EAGAIN), not measured yet
// (ENODATA), its bus off (ENXIO), or an empty file.
func asleep(err error) bool {
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENODATA) ||
		errors.Is(err, unix.ENXIO) || errors.Is(err, errEmpty)
}

var errEmpty = errors.New("empty")

func (t *Temperature) celsius(path string) (float64, error) {
	b, err := t.r.read(path, smallBytes)
	if err != nil {
		return 0, err
	}
	w, _ := word(b)
	if len(w) == 0 {
		return 0, errEmpty
	}
	milli, ok := signed(w)
	if !ok || milli < -273_150 || milli > 10_000_000 {
		return 0, odd(path, b)
	}
	return float64(milli) / 1e3, nil
}

// sensors lists what lies below class, which is .../sys/class. A thermal zone is named by its type, a hwmon sensor by
// chip/label or chip/temp1; the second of a name has its directory added, so that names stay unique.
func sensors(class string) []sensor {
	var list []sensor
	taken := map[string]bool{}
	add := func(name, dir, suffix, path string) {
		instance := name + suffix
		if taken[instance] {
			instance = name + ":" + dir + suffix
		}
		if taken[instance] || len(list) == maxInstances {
			return
		}
		taken[instance] = true
		list = append(list, sensor{instance, path})
	}
	for _, zone := range numbered(class+"/thermal", "thermal_zone", "") {
		dir := class + "/thermal/" + zone
		add(cmp.Or(label(dir+"/type"), zone), zone, "", dir+"/temp")
	}
	for _, chip := range numbered(class+"/hwmon", "hwmon", "") {
		dir := class + "/hwmon/" + chip
		// The kernel shows every thermal zone a second time as a chip of its own.
		if target, err := os.Readlink(dir + "/device"); err == nil && strings.HasPrefix(filepath.Base(target), "thermal_zone") {
			continue
		}
		name := cmp.Or(label(dir+"/name"), chip)
		for _, input := range numbered(dir, "temp", "_input") {
			temp := strings.TrimSuffix(input, "_input")
			add(name, chip, "/"+cmp.Or(label(dir+"/"+temp+"_label"), temp), dir+"/"+input)
		}
	}
	return list
}

// numbered returns the names in dir that are prefix, number, suffix, in the order of the numbers.
func numbered(dir, prefix, suffix string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	number := func(name string) (int, bool) {
		rest, begins := strings.CutPrefix(name, prefix)
		rest, ends := strings.CutSuffix(rest, suffix)
		n, err := strconv.Atoi(rest)
		return n, begins && ends && err == nil && n >= 0
	}
	var names []string
	for _, e := range entries {
		if _, ok := number(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		m, _ := number(a)
		n, _ := number(b)
		return cmp.Compare(m, n)
	})
	return names
}

// label reads a name of at most 64 printable characters, or nothing.
func label(path string) string {
	var r reader
	b, err := r.read(path, smallBytes)
	if err != nil {
		return ""
	}
	first, _ := line(b)
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, string(first))
	return strings.TrimSpace(s[:min(len(s), 64)])
}
