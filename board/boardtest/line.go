package boardtest

import (
	"errors"
	"testing"

	"holdfast/board"
)

// A Bench is an input and an output under test, with what a tester's hands and meter would be.
type Bench struct {
	Input  board.Line
	Apply  func(high bool) // puts a level on the input
	Output board.Line      // made with the level low
	Meter  func() bool     // reads the level at the output's pin, past the driver
	Short  func(high bool) // forces the level at the output's pin, past the driver; nil where that cannot be done
}

// TestLine is the contract of board.Line. open makes a new bench.
func TestLine(t *testing.T, open func(t *testing.T) Bench) {
	t.Run("an input says what is applied", func(t *testing.T) {
		b := open(t)
		for _, high := range []bool{true, false, false, true} {
			b.Apply(high)
			if got, err := b.Input.Read(); got != high || err != nil {
				t.Errorf("read with %t applied: %t, %v", high, got, err)
			}
		}
	})
	t.Run("an input cannot be driven", func(t *testing.T) {
		b := open(t)
		b.Apply(false)
		if err := b.Input.Drive(true); !errors.Is(err, board.ErrUnsupported) {
			t.Errorf("drive an input: %v, want one that is ErrUnsupported", err)
		}
		if got, err := b.Input.Read(); got || err != nil {
			t.Errorf("read after an attempt to drive: %t, %v", got, err)
		}
	})
	t.Run("an output starts as it was made", func(t *testing.T) {
		b := open(t)
		if got, err := b.Output.Read(); got || err != nil || b.Meter() {
			t.Errorf("read: %t, %v; at the pin: %t; want low", got, err, b.Meter())
		}
	})
	t.Run("an output shows what it is told", func(t *testing.T) {
		b := open(t)
		for _, high := range []bool{true, true, false, true, false} {
			if err := b.Output.Drive(high); err != nil {
				t.Fatalf("drive %t: %v", high, err)
			}
			if b.Meter() != high {
				t.Errorf("told %t, the pin is %t", high, b.Meter())
			}
			if got, err := b.Output.Read(); got != high || err != nil {
				t.Errorf("told %t, read %t, %v", high, got, err)
			}
		}
	})
	t.Run("an output is not read back from the chip", func(t *testing.T) {
		b := open(t)
		if b.Short == nil {
			t.Skip("the pin cannot be forced on this bench")
		}
		if err := b.Output.Drive(true); err != nil {
			t.Fatal(err)
		}
		b.Short(false)
		if got, err := b.Output.Read(); !got || err != nil {
			t.Errorf("told high and forced low: read %t, %v, want what it was told", got, err)
		}
	})
	t.Run("lines may be used by several goroutines", func(t *testing.T) {
		b := open(t)
		done := make(chan error, 4) // one each
		for i := range 4 {
			go func() {
				var err error
				for j := range 200 {
					err = errors.Join(err, b.Output.Drive((i+j)%2 == 0))
					_, out := b.Output.Read()
					_, in := b.Input.Read()
					err = errors.Join(err, out, in)
				}
				done <- err
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got, _ := b.Output.Read(); got != b.Meter() {
			t.Errorf("after a race of drivers the line says %t and the pin is %t", got, b.Meter())
		}
	})
}
