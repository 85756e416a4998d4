package ladder_test

import (
	"fmt"
	"testing"
	"time"

	"holdfast/remediate/ladder"
)

func TestThreeUncleanBootsInTenMinutesLeadToSafeMode(t *testing.T) {
	// Each step is a boot: when it began, in credited minutes, and how it ended: c for a cut, r for one after the
	// agent was restarted, e in order, l after it lasted.
	for _, tt := range []struct {
		name  string
		boots string
		at    []int64
		safe  bool // in the boot after them
	}{
		{"three in a row", "ccc", []int64{0, 1, 2}, true},
		{"two in a row", "cc", []int64{0, 1}, false},
		{"one in order between them", "ccec", []int64{0, 1, 2, 3}, false},
		{"one that lasted between them", "cclc", []int64{0, 1, 2, 3}, false},
		{"three after one in order", "eccc", []int64{0, 1, 2, 3}, true},
		{"exactly ten minutes", "ccc", []int64{0, 5, 10}, true},
		{"farther apart", "ccc", []int64{0, 5, 11}, false},
		{"the last three count", "cccc", []int64{0, 60, 62, 64}, true},
		{"two after one that lasted", "lcc", []int64{0, 1, 2}, false},
		{"the agent was restarted in each", "rrr", []int64{0, 1, 2}, true},
		{"the time stands still", "ccc", []int64{3, 3, 3}, true},
		{"the time was lost", "ccc", []int64{90, 90, 1}, true},
	} {
		b := &ladder.Boots{}
		for i, how := range tt.boots {
			boot := fmt.Sprint("boot", i)
			b.Began(boot, 20*time.Second, tt.at[i]*minute)
			b.Began(boot, 30*time.Second, tt.at[i]*minute) // the agent starts again: no boot
			switch how {
			case 'e':
				b.End(boot)
			case 'r': // the agent ended in order, and was started again
				b.End(boot)
				b.Began(boot, 40*time.Second, tt.at[i]*minute)
			case 'l':
				b.Stays(boot, 10*time.Minute)
			}
			b = again(t, b)
			if b.Safe != nil {
				t.Errorf("%s: safe mode in boot %d already", tt.name, i)
			}
		}
		b.Began("last", 20*time.Second, tt.at[len(tt.at)-1]*minute)
		if got := b.Safe != nil; got != tt.safe {
			t.Errorf("%s: safe mode is %v", tt.name, got)
		}
	}
}

func again(t *testing.T, b *ladder.Boots) *ladder.Boots {
	t.Helper()
	read, err := ladder.ParseBoots(b.Encode())
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestSafeModeEndsByWordOrAfterABootOfAnHour(t *testing.T) {
	loop := func() *ladder.Boots {
		b := &ladder.Boots{}
		for i := range 4 {
			b.Began(fmt.Sprint(i), time.Second, 0)
		}
		if b.Safe == nil {
			t.Fatal("no safe mode")
		}
		return b
	}
	b := loop()
	if b.Stays("3", time.Hour-1); b.Safe == nil {
		t.Error("it ended before an hour")
	}
	if b.Stays("2", 2*time.Hour); b.Safe == nil {
		t.Error("another boot ended it")
	}
	if until := b.Until(50 * time.Minute); until != 10*time.Minute {
		t.Errorf("it is to last for another %v", until)
	}
	if b.Stays("3", time.Hour); b.Safe != nil {
		t.Error("an hour did not end it")
	}
	b = loop()
	if b.Leave(); b.Safe != nil || len(b.Unclean) != 0 {
		t.Error("the word did not end it")
	}
	if b.Began("4", time.Second, 0); b.Safe != nil { // the boot that said it was cut, and counts as one
		t.Error("one more boot entered it again")
	}
	// A rung entered it late in a boot: the hour is from then on.
	b = &ladder.Boots{}
	b.Began("x", time.Second, 0)
	b.Enter("a rung", "x", 5*time.Hour)
	if b.Stays("x", 5*time.Hour+59*time.Minute); b.Safe == nil {
		t.Error("it ended at once")
	}
	if b.Stays("x", 6*time.Hour); b.Safe != nil {
		t.Error("an hour after the rung it is still there")
	}
}

func TestALostRecordOfBootsCountsTwo(t *testing.T) {
	b := ladder.UnknownBoots(9 * minute)
	if b.Began("a", time.Second, 9*minute); b.Safe != nil {
		t.Error("safe mode at once")
	}
	if b.Began("b", time.Second, 9*minute); b.Safe == nil {
		t.Error("no safe mode after one more unclean boot")
	}
	b = ladder.UnknownBoots(0)
	b.Began("a", time.Second, 0)
	b.End("a")
	if b.Began("b", time.Second, 0); b.Safe != nil || len(b.Unclean) != 0 {
		t.Error("a boot in order did not clear it")
	}
}

func FuzzParseBoots(f *testing.F) {
	f.Add((&ladder.Boots{}).Encode())
	b := ladder.UnknownBoots(3)
	b.Enter("why", "x", time.Hour)
	f.Add(b.Encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := ladder.ParseBoots(text)
		if err != nil {
			return
		}
		b.Began("new", time.Minute, 5)
		b.Stays("new", 2*time.Hour)
		_ = b.Until(time.Hour)
		if _, err := ladder.ParseBoots(b.Encode()); err != nil {
			t.Error(err)
		}
	})
}
