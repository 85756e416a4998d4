package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"holdfast/board/strict"
	"holdfast/remediate/ladder"
)

// fileBytes bounds the configuration file.
const fileBytes = 256 << 10

// An Error is one thing wrong with the file, with its place.
type Error struct {
	File         string
	Line, Column int // from 1; 0 where the place is not known
	Problem      string
	Hint         string
}

func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, e.Problem)
	default:
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
	}
}

// Load reads the file at path over the defaults. A file that is not there is an error that is fs.ErrNotExist.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, fileBytes+1))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	if len(b) > fileBytes {
		return Config{}, &Error{File: path, Problem: fmt.Sprintf("longer than %d bytes", fileBytes)}
	}
	return Parse(path, b)
}

// Parse reads the text of a configuration file over the defaults. name is for errors, which are of type *Error; several
// are joined.
func Parse(name string, text []byte) (Config, error) {
	if errs := units(name, text); len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	c := Default()
	d := toml.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, located(name, text, err)
	}
	if errs := c.check(name, text); len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}

// located turns go-toml's errors into ours, with line, column and the nearest right key.
func located(name string, text []byte, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var errs []error
		for i := range unknown.Errors {
			e := &unknown.Errors[i]
			line, column := e.Position()
			key := e.Key()
			out := &Error{File: name, Line: line, Column: column,
				Problem: fmt.Sprintf("no such key %q", strings.Join(key, "."))}
			if near := nearest(key); near != "" {
				out.Hint = fmt.Sprintf("did you mean %q?", near)
			}
			errs = append(errs, out)
		}
		return errors.Join(errs...)
	}
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, column := wrong.Position()
		problem := plain(strings.TrimPrefix(wrong.Error(), "toml: "))
		if key := wrong.Key(); len(key) > 0 {
			problem = strings.Join(key, ".") + ": " + problem
		}
		return &Error{File: name, Line: line, Column: column, Problem: problem}
	}
	return &Error{File: name, Problem: strings.TrimPrefix(err.Error(), "toml: ")}
}

// plain says a type that does not fit in the words of the file, not in those of Go.
func plain(problem string) string {
	rest, ok := strings.CutPrefix(problem, "cannot decode TOML ")
	if !ok {
		return problem
	}
	from, to, ok := strings.Cut(rest, " into ")
	if !ok {
		return problem
	}
	if i := strings.LastIndex(to, " of type "); i >= 0 {
		to = to[i+len(" of type "):]
	}
	names := map[string]string{"string": "text", "integer": "a whole number", "float": "a fraction", "boolean": "true or false",
		"array": "a list", "table": "a table", "int": "a whole number", "float64": "a number",
		"bool": "true or false", "[]string": "a list of texts"}
	have, want := names[from], names[to]
	if have == "" {
		have = from
	}
	if want == "" {
		return "this key does not take " + have
	}
	return "want " + want + ", not " + have
}

// nearest returns the key that someone who wrote key may have meant: one of the same section, else one of any.
func nearest(key []string) string {
	all := Keys()
	last := key[len(key)-1]
	section := strings.Join(key[:len(key)-1], ".")
	var siblings, others []string
	for _, k := range all {
		parent, leaf := cutLast(k.Path)
		if parent == section || wild(parent) == section && parent != "" || match(parent, key[:len(key)-1]) {
			siblings = append(siblings, leaf)
		}
		others = append(others, k.Path)
	}
	if near := strict.Nearest(last, siblings); near != "" {
		return near
	}
	if i := slices.IndexFunc(others, func(p string) bool { return strings.HasSuffix(p, "."+last) }); i >= 0 {
		return others[i]
	}
	return strict.Nearest(strings.Join(key, "."), others)
}

func cutLast(path string) (parent, leaf string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

func wild(path string) string { return strings.ReplaceAll(path, "NAME.", "") }

// match reports whether a path of the reference, in which NAME stands for any key, is key.
func match(path string, key []string) bool {
	if path == "" {
		return len(key) == 0
	}
	parts := strings.Split(path, ".")
	return len(parts) == len(key) && !slices.ContainsFunc(indices(parts), func(i int) bool {
		return parts[i] != "NAME" && parts[i] != key[i]
	})
}

func indices(s []string) []int {
	out := make([]int, len(s))
	for i := range out {
		out[i] = i
	}
	return out
}

var (
	idPattern   = strict.Pattern(`^[A-Za-z0-9_.-]{1,64}$`)
	urlPattern  = strict.Pattern(`^(mqtts?|tcp|ssl|tls)://[^/@\s]+$`)
	rootPattern = strict.Pattern(`^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+){0,3}$`)
)

// check finds values that are of the right type and still wrong.
func (c *Config) check(file string, text []byte) []error {
	var errs []error
	bad := func(ok bool, key, problem string, args ...any) {
		if !ok {
			line, column := place(text, key)
			errs = append(errs, &Error{File: file, Line: line, Column: column, Problem: key + ": " + fmt.Sprintf(problem, args...)})
		}
	}
	bad(c.ID == "" || idPattern(c.ID), "id", "%q is not 1 to 64 letters, digits, '-', '_' or '.'", c.ID)
	for _, u := range c.Broker.URLs {
		bad(urlPattern(u), "broker.urls", "%q is not an address such as mqtts://broker.example.com:8883", u)
		if i := strings.LastIndexByte(u, ':'); i >= 0 && strings.Trim(u[i+1:], "0123456789") == "" {
			n, err := strconv.Atoi(u[i+1:])
			bad(err == nil && n >= 1 && n <= 65535, "broker.urls", "%q: a port is 1 to 65535", u)
		}
	}
	bad(c.Broker.Dialect == "plain" || c.Broker.Dialect == "aws", "broker.dialect", "%q is neither plain nor aws", c.Broker.Dialect)
	bad(rootPattern(c.Broker.TopicRoot), "broker.topic_root", "%q is not a topic of letters, digits, '-', '_' and at most four levels", c.Broker.TopicRoot)
	bad((c.Broker.CertFile == "") == (c.Broker.KeyFile == ""), "broker.cert_file", "cert_file and key_file go together")
	span := func(d Duration, key string, lo, hi time.Duration) {
		bad(time.Duration(d) >= lo && time.Duration(d) <= hi, key, "%s is not between %s and %s", d, Duration(lo), Duration(hi))
	}
	span(c.Broker.KeepAlive, "broker.keep_alive", 30*time.Second, 20*time.Minute)
	span(c.Broker.MinBackoff, "broker.min_backoff", 100*time.Millisecond, time.Minute)
	span(c.Broker.MaxBackoff, "broker.max_backoff", time.Duration(c.Broker.MinBackoff), time.Hour)
	span(c.Telemetry.Period, "telemetry.period", 100*time.Millisecond, 24*time.Hour)
	span(c.Telemetry.Linger, "telemetry.linger", 0, time.Hour)
	span(c.Telemetry.Digest, "telemetry.digest", 0, 24*time.Hour)
	size := func(n Bytes, key string, lo, hi Bytes) {
		bad(n >= lo && n <= hi, key, "%s is not between %s and %s", n, lo, hi)
	}
	size(c.Telemetry.BatchBytes, "telemetry.batch_bytes", 1<<10, 60<<10)
	size(c.Spool.LimitBytes, "spool.limit", max(256<<10, 4*(256<<10+c.Spool.RAMBytes)), 16<<30) // four segments and what is in memory
	size(c.Spool.RAMBytes, "spool.ram", 16<<10, 64<<20)
	size(c.Shadow.LimitBytes, "shadow.limit", 256, 32<<10)
	size(c.Journal.LineBytes, "journal.line_bytes", 80, 8<<10)
	bad(c.Telemetry.InFlight >= 1 && c.Telemetry.InFlight <= 32, "telemetry.in_flight", "%d is not between 1 and 32", c.Telemetry.InFlight)
	bad(c.Journal.LinesPerMinute >= 1 && c.Journal.LinesPerMinute <= 6000, "journal.lines_per_minute", "%d is not between 1 and 6000", c.Journal.LinesPerMinute)
	bad(slices.Contains(Priorities(), c.Journal.Priority), "journal.priority", "%q is none of %s", c.Journal.Priority, strings.Join(Priorities(), " "))
	bad(slices.Contains([]string{"debug", "info", "warn", "error"}, c.Log.Level), "log.level", "%q is none of debug info warn error", c.Log.Level)
	for n, v := range c.Collectors {
		if v.Period != nil {
			span(*v.Period, "collectors."+n+".period", 100*time.Millisecond, 24*time.Hour)
		}
		bad(v.Edges == nil || *v.Edges >= 1 && *v.Edges <= 1000, "collectors."+n+".edges_per_second", "not between 1 and 1000")
		bad(v.Deadband == nil || *v.Deadband >= 0 && *v.Deadband <= 1, "collectors."+n+".deadband", "not between 0 and 1")
	}
	c.checkLines(bad, span)
	for key, n := range map[string]int{"limits.reboots_per_hour": c.Limits.RebootsPerHour, "limits.reboots_per_day": c.Limits.RebootsPerDay,
		"limits.repairs_per_hour": c.Limits.RepairsPerHour, "limits.repairs_per_day": c.Limits.RepairsPerDay} {
		bad(n >= 0 && n <= 1000, key, "%d is not between 0 and 1000", n)
	}
	for key, v := range map[string]float64{"thresholds.cpu": c.Thresholds.CPU, "thresholds.memory": c.Thresholds.Memory,
		"thresholds.network": c.Thresholds.Network} {
		bad(v >= 0 && v <= 100, key, "%g is not between 0 and 100", v)
	}
	bad(c.Rules.Dir == "" || strings.HasPrefix(c.Rules.Dir, "/"), "rules.dir", "%q is no absolute path", c.Rules.Dir)
	bad(!c.Rules.Content || c.Update.Content != "", "rules.content", "wants update.content, where updates bring it")
	bad(c.Diagnosis.Model == "" || strings.HasPrefix(c.Diagnosis.Model, "/"), "diagnosis.model", "%q is no absolute path", c.Diagnosis.Model)
	bad(!c.Diagnosis.Content || c.Update.Content != "", "diagnosis.content", "wants update.content, where updates bring it")
	bad(c.Repairs.Dir == "" || strings.HasPrefix(c.Repairs.Dir, "/"), "repairs.dir", "%q is no absolute path", c.Repairs.Dir)
	bad(c.Repairs.OffFile == "" || strings.HasPrefix(c.Repairs.OffFile, "/"), "repairs.off_file", "%q is no absolute path", c.Repairs.OffFile)
	bad(!c.Repairs.Content || c.Repairs.Dir != "" && c.Update.Content != "", "repairs.content", "wants repairs.dir, and update.content, where updates bring it")
	bad(len(c.Repairs.Armed) <= 64, "repairs.armed", "more than 64 faults")
	for _, fault := range c.Repairs.Armed {
		bad(ladder.IsFault(fault), "repairs.armed", "%q is no name of a fault, such as mem_leak", fault)
	}
	c.Update.check(bad, span)
	c.checkSensors(bad)
	c.checkDeeds(bad)
	c.Probe.check(bad)
	bad(len(c.Power.Reboot) == 0 || strings.HasPrefix(c.Power.Reboot[0], "/"), "power.reboot", "wants the whole path of a program")
	bad(len(c.Power.Reboot) == 0 || c.Update.Bootloader != "tryboot", "power.reboot", "with tryboot systemd must restart the machine: it passes on what is armed")
	errs = append(errs, c.names(file, text)...)
	slices.SortFunc(errs, func(a, b error) int { return a.(*Error).Line - b.(*Error).Line })
	return errs
}

// Priorities are syslog's names, worst first (RFC 5424, table 2).
func Priorities() []string {
	return []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
}

// place finds where a key is set in the text: the line in its section that begins with its last name.
func place(text []byte, key string) (line, column int) {
	parent, leaf := cutLast(key)
	section := ""
	for i, l := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(l)
		if strings.HasPrefix(trimmed, "[") {
			section = strings.Trim(strings.SplitN(trimmed, "#", 2)[0], "[] \t")
			if section == key {
				return i + 1, strings.Index(l, trimmed) + 2
			}
		}
		name, _, set := strings.Cut(trimmed, "=")
		if name = strings.TrimSpace(name); set && section == parent && name == leaf || set && section == "" && name == key {
			return i + 1, strings.Index(l, trimmed) + 1
		}
	}
	return 0, 0
}

// Check finds values that are wrong, for a configuration that was changed after it was read.
func (c *Config) Check() error { return errors.Join(c.check("configuration", nil)...) }
