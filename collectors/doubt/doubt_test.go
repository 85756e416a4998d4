package doubt_test

import (
	"fmt"
	"io/fs"
	"math"
	"syscall"
	"testing"

	"holdfast/collectors/doubt"
)

func TestAReadingIsBelievedOrItsFaultIsNamed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits doubt.Limits
		values []float64
		want   []doubt.Fault
	}{
		{"no limits", doubt.Limits{}, []float64{0, -1e300, 7, 7, 7, 7}, []doubt.Fault{"", "", "", "", "", ""}},
		{"no number", doubt.Limits{}, []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1}, []doubt.Fault{"out_of_range", "out_of_range", "out_of_range", ""}},
		{"range", doubt.Limits{Low: -40, High: 85}, []float64{-40, -40.01, 85, 85.01}, []doubt.Fault{"", "out_of_range", "", "out_of_range"}},
		{"range from zero", doubt.Limits{High: 100}, []float64{0, -0.5, 101}, []doubt.Fault{"", "out_of_range", "out_of_range"}},
		{"stuck", doubt.Limits{StuckAfter: 3}, []float64{1, 1, 1, 1, 2, 1, 1, 1}, []doubt.Fault{"", "", "stuck", "stuck", "", "", "", "stuck"}},
		{"noise", doubt.Limits{StuckAfter: 2}, []float64{1, 1 + 1e-12, 1, 1 + 1e-12}, []doubt.Fault{"", "", "", ""}},
		{"zero from the start", doubt.Limits{StuckAfter: 2}, []float64{0, 0}, []doubt.Fault{"", "stuck"}},
		{"stuck out of range", doubt.Limits{Low: 1, High: 2, StuckAfter: 2}, []float64{0, 0, 0}, []doubt.Fault{"out_of_range", "out_of_range", "out_of_range"}},
	} {
		var j doubt.Judge
		for i, v := range tt.values {
			if got := j.Judge(tt.limits, v); got != tt.want[i] {
				t.Errorf("%s: reading %d, %v: fault %q, want %q", tt.name, i, v, got, tt.want[i])
			}
		}
	}
}

func TestTheFirstRuleThatMatchesCounts(t *testing.T) {
	low, high := -10.0, 60.0
	rules := doubt.Rules{
		{Instance: "28-000*", Low: &low, StuckAfter: 30},
		{Source: "i2c", Instance: "cellar", Field: "humidity_percent", High: &high},
		{Source: "hwmon", High: &high},
		{Source: "[", StuckAfter: 1},
		{StuckAfter: 99},
	}
	chip := doubt.Limits{Low: -55, High: 125}
	for _, tt := range []struct {
		source, instance, field string
		physical, want          doubt.Limits
	}{
		{"w1", "28-0001", "temperature_celsius", chip, doubt.Limits{Low: -10, High: 125, StuckAfter: 30}},
		{"w1", "10-0001", "temperature_celsius", chip, doubt.Limits{Low: -55, High: 125, StuckAfter: 99}},
		{"i2c", "cellar", "humidity_percent", doubt.Limits{High: 100}, doubt.Limits{High: 60}},
		{"i2c", "cellar", "temperature_celsius", chip, doubt.Limits{Low: -55, High: 125, StuckAfter: 99}},
		{"hwmon", "ina3221/in1", "voltage_volts", doubt.Limits{}, doubt.Limits{Low: -math.MaxFloat64, High: 60}},
	} {
		if got := rules.Limits(tt.source, tt.instance, tt.field, tt.physical); got != tt.want {
			t.Errorf("%s %s %s: %+v, want %+v", tt.source, tt.instance, tt.field, got, tt.want)
		}
	}
	if got := doubt.Rules(nil).Limits("w1", "28-0001", "x", chip); got != chip {
		t.Errorf("without rules: %+v, want what the chip can", got)
	}
}

func TestWhoDoesNotAnswerIsAbsent(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{syscall.ENODEV, true},
		{fmt.Errorf("read chip: %w", syscall.EREMOTEIO), true},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, true},
		{fmt.Errorf("bus: %w", syscall.ESHUTDOWN), true},
		{syscall.EACCES, false},
		{syscall.EINVAL, false},
		{fmt.Errorf("garbage"), false},
		{nil, false},
	} {
		if got := doubt.Absent(tt.err); got != tt.want {
			t.Errorf("Absent(%v) = %t", tt.err, got)
		}
	}
}
