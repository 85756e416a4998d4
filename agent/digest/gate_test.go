package digest_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"holdfast/agent/digest"
)

func TestGateLetsNewsPass(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct {
		name   string
		gate   digest.Gate
		values []float64 // one a second
		pass   []int     // which of them pass
	}{
		{"no bound at all", digest.Gate{}, []float64{1, 1, 1}, []int{0, 1, 2}},
		{"silence alone sends changes", digest.Gate{Silence: 3 * time.Second}, []float64{1, 1, 2, 2, 2, 2, 2}, []int{0, 2, 5}},
		{"absolute", digest.Gate{Deadband: 1}, []float64{10, 10.5, 11, 11.1, 10.2, 10, -5}, []int{0, 3, 5, 6}},
		{"a slow drift leaves the deadband too", digest.Gate{Deadband: 1}, []float64{0, 0.4, 0.8, 1.2, 1.6, 2, 2.4}, []int{0, 3, 6}},
		{"relative", digest.Gate{Relative: 0.1}, []float64{100, 109, 111, 121, 123}, []int{0, 2, 4}},
		{"relative to a negative value", digest.Gate{Relative: 0.1}, []float64{-100, -109, -111}, []int{0, 2}},
		{"absolute is the floor of relative", digest.Gate{Deadband: 1, Relative: 0.1}, []float64{0.1, 0.2, 1.2, 100, 105, 111}, []int{0, 2, 3, 5}},
		{"rate alone", digest.Gate{Rate: 2}, []float64{0, 1, 2, 3, 6, 6, 3}, []int{0, 4, 6}},
		{"rate beside a deadband", digest.Gate{Deadband: 100, Rate: 2}, []float64{0, 1, 5, 5, 200}, []int{0, 2, 4}},
		{"silence", digest.Gate{Deadband: 1, Silence: 2 * time.Second}, []float64{0, 0, 0, 0, 0}, []int{0, 2, 4}},
		{"a sensor that breaks and heals", digest.Gate{Deadband: 1}, []float64{5, nan, nan, 5, 5}, []int{0, 1, 3}},
		{"infinity", digest.Gate{Deadband: 1, Relative: 0.5}, []float64{5, inf, inf, 5, 5}, []int{0, 1, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at, got := time.Unix(1000, 0), []int{}
			for i, v := range tt.values {
				if tt.gate.Pass(at.Add(time.Duration(i)*time.Second), v) {
					got = append(got, i)
				}
			}
			if !slices.Equal(got, tt.pass) {
				t.Errorf("passed: %v, want %v", got, tt.pass)
			}
		})
	}
}

func TestAClockThatGoesBackDoesNotSilenceAGate(t *testing.T) {
	g := digest.Gate{Deadband: 1, Silence: time.Minute}
	g.Pass(time.Unix(1e9, 0), 1)
	if !g.Pass(time.Unix(0, 0), 1) {
		t.Error("a value after a step back did not pass")
	}
	if g.Pass(time.Unix(1, 0), 1) {
		t.Error("the gate stays open after a step back")
	}
}

// Whatever the stream, the receiver is never further off than the deadband, and never longer without a value than the
// silence.
func TestWhatPassesStandsForWhatDoesNot(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		g := digest.Gate{Deadband: 0.5, Relative: 0.02, Rate: 3, Silence: 30 * time.Second}
		at, v, passed, last, lastAt := time.Unix(0, 0), 0.0, 0, 0.0, time.Time{}
		for range 2000 {
			at = at.Add(time.Duration(r.Int64N(int64(2 * time.Second))))
			v += 0.2 * r.NormFloat64()
			if g.Pass(at, v) {
				passed++
				last, lastAt = v, at
			}
			if off := math.Abs(v - last); off > max(0.5, 0.02*math.Abs(last)) {
				t.Fatalf("seed %d: the receiver holds %g, the value is %g", seed, last, v)
			}
			if at.Sub(lastAt) >= 30*time.Second {
				t.Fatalf("seed %d: silent for %v", seed, at.Sub(lastAt))
			}
		}
		if passed > 1000 {
			t.Errorf("seed %d: %d of 2000 values passed: the gate suppresses too little", seed, passed)
		}
	}
}

func TestPassDoesNotAllocate(t *testing.T) {
	g, at := digest.Gate{Deadband: 1}, time.Unix(0, 0)
	if n := testing.AllocsPerRun(100, func() { g.Pass(at, 1) }); n != 0 {
		t.Errorf("Pass allocates %g times", n)
	}
}
