package train

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"holdfast/remediate/forest"
)

// ErrData is what all errors about data are.
var ErrData = errors.New("data")

// The columns that say where a row comes from. They are never features: by them a forest would know the experiment and not the fault.
const (
	colDevice = "dev"
	colTime   = "t"
	colLabel  = "label"
	colFault  = "fault_no"
	colRep    = "rep"
	colSince  = "since"
)

var aside = []string{colDevice, colTime, colLabel, colFault, colRep, colSince}

// maxRows bounds what is read; a hundred million cells would be gigabytes.
const maxRows = 500_000

// A Table is the rows of one file, in its order.
type Table struct {
	Name    string
	Metrics []string
	Rows    []Row
}

// A Row is the measures of a device at a time.
type Row struct {
	Device string
	Time   float64 // seconds; NaN where the table does not say
	Label  string
	Fault  string  // tells two faults of the same kind apart
	Since  float64 // seconds since the fault began or the last one ended; +Inf where the table does not say
	Group  string  // of the column that is asked for
	Values []float64
}

// ReadTable reads CSV with a line of names. The label is in the column of that name, which may be empty for data that has none;
// group names the column by which data is parted, or is empty. All columns that are not set aside are metrics.
func ReadTable(in io.Reader, name, label, group string) (*Table, error) {
	r := csv.NewReader(bufio.NewReaderSize(in, 1<<16))
	r.ReuseRecord = true
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrData, name, err)
	}
	c, err := columnsOf(slices.Clone(head), label, group)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrData, name, err)
	}
	t := &Table{Name: name}
	for _, i := range c.metrics {
		t.Metrics = append(t.Metrics, c.names[i])
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && len(t.Rows) == maxRows {
			err = fmt.Errorf("more than %d rows", maxRows)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrData, name, err)
		}
		row, err := c.row(record)
		if err != nil {
			line, _ := r.FieldPos(0) // of a record that was read
			return nil, fmt.Errorf("%w: %s:%d: %w", ErrData, name, line, err)
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) == 0 {
		return nil, fmt.Errorf("%w: %s: no rows", ErrData, name)
	}
	return t, nil
}

// columns says where in a record is what; -1 is nowhere.
type columns struct {
	names                                    []string
	device, time, label, fault, since, group int
	metrics                                  []int
}

func columnsOf(names []string, label, group string) (*columns, error) {
	c := &columns{names: names}
	if most := forest.MaxMetrics + len(aside) + 2; len(names) > most { // before each is compared with all
		return nil, fmt.Errorf("%d columns: wants at most %d", len(names), most)
	}
	for i, n := range names {
		if slices.Contains(names[:i], n) {
			return nil, fmt.Errorf("column %s comes twice", n)
		}
	}
	c.device, c.time, c.fault = slices.Index(names, colDevice), slices.Index(names, colTime), slices.Index(names, colFault)
	c.since, c.label, c.group = slices.Index(names, colSince), slices.Index(names, label), slices.Index(names, group)
	if label != "" && c.label < 0 {
		return nil, fmt.Errorf("no column %s for the label", label)
	}
	if group != "" && c.group < 0 {
		return nil, fmt.Errorf("no column %s to part it by", group)
	}
	for i, n := range names {
		if i == c.label || i == c.group || slices.Contains(aside, n) {
			continue
		}
		if err := forest.CheckName(n); err != nil {
			return nil, fmt.Errorf("column %d: %w", i+1, err)
		}
		c.metrics = append(c.metrics, i)
	}
	if n := len(c.metrics); n < 1 || n > forest.MaxMetrics {
		return nil, fmt.Errorf("%d columns of metrics: wants 1 to %d", n, forest.MaxMetrics)
	}
	return c, nil
}

func (c *columns) row(record []string) (Row, error) {
	text := func(i int) string {
		if i < 0 {
			return ""
		}
		return string([]byte(record[i])) // the record is reused
	}
	r := Row{Device: text(c.device), Label: text(c.label), Fault: text(c.fault), Group: text(c.group), Time: math.NaN(), Since: math.Inf(1)}
	var err error
	if c.time >= 0 {
		if r.Time, err = number(c.names[c.time], record[c.time]); err != nil {
			return r, err
		}
	}
	if c.since >= 0 {
		if r.Since, err = number(c.names[c.since], record[c.since]); err != nil {
			return r, err
		}
	}
	if c.label >= 0 {
		if err := forest.CheckName(r.Label); err != nil {
			return r, fmt.Errorf("label: %w", err)
		}
	}
	r.Values = make([]float64, len(c.metrics))
	for i, at := range c.metrics {
		if record[at] == "" {
			r.Values[i] = math.NaN()
			continue
		}
		if r.Values[i], err = number(c.names[at], record[at]); err != nil {
			return r, err
		}
	}
	return r, nil
}

// number reads a number that a feature can hold, which is a float32.
func number(column, text string) (float64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		return 0, fmt.Errorf("column %s: %.40q: wants a number", column, text)
	}
	if math.Abs(f) > math.MaxFloat32 {
		return 0, fmt.Errorf("column %s: %.40q: wants at most %g", column, text, float32(math.MaxFloat32))
	}
	return f, nil
}
