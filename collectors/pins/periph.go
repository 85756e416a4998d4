package pins

import (
	"fmt"
	"sync"

	"periph.io/x/conn/v3/gpio"

	"holdfast/board"
)

// An Input is a line made of a periph pin. It may be used by several goroutines where the pin may.
type Input struct{ pin gpio.PinIn }

// NewInput makes pin an input with this pull. periph cannot tell of a read that did not work: a pin that vanishes reads
// as low.
func NewInput(pin gpio.PinIn, pull gpio.Pull) (*Input, error) {
	if err := pin.In(pull, gpio.NoEdge); err != nil {
		return nil, fmt.Errorf("make pin %s an input: %w", pin.Name(), err)
	}
	return &Input{pin}, nil
}

// Read implements board.Line.
func (i *Input) Read() (high bool, err error) { return i.pin.Read() == gpio.High, nil }

// Drive implements board.Line.
func (i *Input) Drive(bool) error {
	return fmt.Errorf("drive pin %s: it is an input: %w", i.pin.Name(), board.ErrUnsupported)
}

// An Output is a line made of a periph pin. Its level is remembered and never read back: reading makes an input with
// pull-up of some chips' outputs. It may be used by several goroutines.
type Output struct {
	pin gpio.PinOut

	mu   sync.Mutex // the level told to the pin and the one remembered change together
	told bool
}

// NewOutput makes pin an output that drives a level.
func NewOutput(pin gpio.PinOut, high bool) (*Output, error) {
	if err := pin.Out(gpio.Level(high)); err != nil {
		return nil, fmt.Errorf("make pin %s an output: %w", pin.Name(), err)
	}
	return &Output{pin: pin, told: high}, nil
}

// Read implements board.Line.
func (o *Output) Read() (high bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.told, nil
}

// Drive implements board.Line.
func (o *Output) Drive(high bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.pin.Out(gpio.Level(high)); err != nil {
		return fmt.Errorf("drive pin %s: %w", o.pin.Name(), err)
	}
	o.told = high
	return nil
}
