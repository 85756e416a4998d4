package host_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"holdfast/collectors/host"
)

func TestClock(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state int
		err   error
		tx    unix.Timex
		want  string
	}{
		{"nanoseconds", unix.TIME_OK, nil, unix.Timex{Status: unix.STA_NANO | unix.STA_PLL, Offset: -1_500_000, Maxerror: 12_000},
			"clock: synchronised=true offset_seconds=-0.0015 max_error_seconds=0.012\n"},
		{"microseconds", unix.TIME_INS, nil, unix.Timex{Offset: 1500, Maxerror: 500_000}, "clock: synchronised=true offset_seconds=0.0015 max_error_seconds=0.5\n"},
		{"flag", unix.TIME_OK, nil, unix.Timex{Status: unix.STA_UNSYNC, Maxerror: 16_000_000}, "clock: synchronised=false offset_seconds=0 max_error_seconds=16\n"},
		{"state", unix.TIME_ERROR, nil, unix.Timex{}, "clock: synchronised=false offset_seconds=0 max_error_seconds=0\n"},
		{"forbidden", 0, unix.EPERM, unix.Timex{}, ""},
		{"none", 0, unix.ENOSYS, unix.Timex{}, ""},
	} {
		samples, err := try(&host.Clock{Adjtimex: func(tx *unix.Timex) (int, error) {
			if tx.Modes != 0 {
				t.Errorf("%s: modes %#x: the clock is only to be read", tt.name, tx.Modes)
			}
			*tx = tt.tx
			return tt.state, tt.err
		}})
		expect(t, tt.name, samples, tt.want)
		if (err != nil) != (tt.err != nil) || noData(err) != (tt.err == unix.ENOSYS) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
