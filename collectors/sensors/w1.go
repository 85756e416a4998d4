package sensors

import (
	"bytes"
	"math"
	"slices"

	"golang.org/x/sys/unix"

	"holdfast/collectors/doubt"
)

// families are the 1-wire thermometers that the kernel's w1_therm drives: DS18S20, DS1822, DS18B20, DS1825 and DS28EA00.
var families = []string{"10", "22", "28", "3b", "42"}

// wire is what a DS18B20 measures.
var wire = doubt.Limits{Low: -55, High: 125}

// wires lists the 1-wire thermometers by their numbers, such as 28-0316a2795cff. Each takes up to 750 ms to read, one after
// the other (Documentation/w1/slaves/w1_therm.rst).
func wires(_ *reader, sys string) []channel {
	var list []channel
	dir := sys + "/bus/w1/devices/"
	for _, id := range entries(dir) {
		if len(id) == 15 && id[2] == '-' && slices.Contains(families, id[:2]) {
			list = append(list, channel{name: id, field: "temperature_celsius", path: dir + id + "/w1_slave", read: answered,
				factor: 1e-3, limits: wire})
		}
	}
	return list
}

// answered reads what a thermometer said on the wire, in preference to the file "temperature", which hides it.
func answered(r *reader, c *channel) (float64, doubt.Fault, error) {
	b, err := r.text(c.path)
	if err != nil {
		return 0, doubt.None, err
	}
	milli, fault, err := wordOnTheWire(b)
	if v, known := c.judge.Last(); fault == doubt.PowerOn && known && math.Abs(v-85) <= 3 {
		fault = doubt.None // it came there by itself
	}
	return milli * c.factor, fault, err
}

// wordOnTheWire reads a file w1_slave:
//
//	72 01 4b 46 7f ff 0e 10 57 : crc=57 YES
//	72 01 4b 46 7f ff 0e 10 57 t=23125
//
// A wire that is shorted reads as nine zeros, whose CRC is right. A thermometer that lost its supply during the conversion
// answers with its power-on value, 85 degrees.
func wordOnTheWire(b []byte) (milli float64, fault doubt.Fault, err error) {
	first, second, _ := bytes.Cut(b, []byte{'\n'})
	raw, sum, ok := bytes.Cut(first, []byte(" : crc="))
	_, value, ok2 := bytes.Cut(second, []byte("t="))
	switch {
	case !ok || !ok2:
		return 0, doubt.None, errGarbage
	case bytes.HasSuffix(sum, []byte("NO")):
		return 0, doubt.Mangled, nil
	case !bytes.HasSuffix(sum, []byte("YES")):
		return 0, doubt.None, errGarbage
	case len(bytes.Trim(raw, "0 ")) == 0:
		return 0, doubt.None, unix.ENODEV
	}
	if milli, err = decimal(bytes.TrimSpace(value)); err == nil && milli == 85_000 {
		fault = doubt.PowerOn
	}
	return milli, fault, err
}
