package i2c

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/ads1x15"
	"periph.io/x/devices/v3/bmxx80"
	"periph.io/x/devices/v3/ina219"

	"holdfast/collectors/doubt"
)

// kinds sets up each kind of chip.
var kinds = map[string]func(*line, Chip) (reading, error){
	"bme280": bosch, "bmp280": bosch, "sht4x": sensirion, "ads1115": converter, "ina219": monitor,
}

// bosch sets up a BME280 or BMP280: temperature -40 to 85 °C, pressure 300 to 1100 hPa, humidity of the BME280 alone. Many a
// BME280 from the market is a BMP280.
func bosch(l *line, c Chip) (reading, error) {
	// What was not measured since power-on reads as 0x80000 or 0x8000 (data sheet, 5.4.7 to 5.4.9), which is a value like others.
	// A chip whose supply broke for a moment measures no humidity any more, and the driver would make a plausible one of that.
	l.after = func(w, r []byte) error {
		if len(w) != 1 || w[0] != 0xf7 || len(r) < 6 ||
			!(r[0] == 0x80 && r[1]|r[2] == 0 || r[3] == 0x80 && r[4]|r[5] == 0 || len(r) == 8 && r[6] == 0x80 && r[7] == 0) {
			return nil
		}
		for _, setting := range []byte{0xf4, 0xf2}[:len(r)/4] { // a BMP280 has six registers, and no 0xf2
			var is [1]byte
			if err := l.Bus.Tx(c.Address, []byte{setting}, is[:]); err != nil {
				return err
			}
			if is[0] == 0 {
				return errPowerOn
			}
		}
		return nil
	}
	dev, err := bmxx80.NewI2C(l, c.Address, &bmxx80.DefaultOpts)
	if err != nil {
		return nil, err
	}
	if is, _, _ := strings.Cut(dev.String(), "{"); !strings.EqualFold(is, c.Kind) {
		return nil, fmt.Errorf("is a %s and no %s", is, c.Kind)
	}
	return func(put func(string, float64, doubt.Limits)) error {
		var e physic.Env
		if err := dev.Sense(&e); err != nil {
			return err
		}
		put(celsius, e.Temperature.Celsius(), doubt.Limits{Low: -40, High: 85})
		put("pressure_pascals", float64(e.Pressure)/float64(physic.Pascal), doubt.Limits{Low: 30e3, High: 110e3})
		if c.Kind == "bme280" {
			put(humidity, float64(e.Humidity)/float64(physic.PercentRH), doubt.Limits{High: 100})
		}
		return nil
	}, nil
}

// sensirion reads an SHT40, SHT41 or SHT45, for which periph has no driver: one byte is the command, and after 8.3 ms at most
// come two words, each with its CRC (data sheet, 4.3 to 4.6).
func sensirion(l *line, c Chip) (reading, error) {
	return func(put func(string, float64, doubt.Limits)) error {
		var r [6]byte
		if err := l.Tx(c.Address, []byte{0xfd}, nil); err != nil { // high precision, no heater
			return err
		}
		if err := l.wait(10 * time.Millisecond); err != nil {
			return err
		}
		if err := l.Tx(c.Address, nil, r[:]); err != nil {
			return err
		}
		if crc8(r[:2]) != r[2] || crc8(r[3:5]) != r[5] {
			return errMangled
		}
		t, h := float64(binary.BigEndian.Uint16(r[:])), float64(binary.BigEndian.Uint16(r[3:]))
		put(celsius, -45+175*t/65535, doubt.Limits{Low: -40, High: 125})
		put(humidity, min(max(-6+125*h/65535, 0), 100), doubt.Limits{High: 100}) // cut off, as the data sheet has it
		return nil
	}, nil
}

// crc8 has the polynomial 0x31 and begins with 0xff.
func crc8(b []byte) byte {
	sum := byte(0xff)
	for _, c := range b {
		sum ^= c
		for range 8 {
			if sum&0x80 != 0 {
				sum = sum<<1 ^ 0x31
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}

// converter sets up an ADS1115 and reads its four inputs against ground, at 128 conversions a second.
func converter(l *line, c Chip) (reading, error) {
	dev, err := ads1x15.NewADS1115(l, &ads1x15.Opts{I2cAddress: c.Address})
	if err != nil {
		return nil, err
	}
	// The chip's clock may be 10 % slow, and then the driver would read what was converted before: the input before this one.
	l.before = func(address uint16, w []byte) error {
		if !bytes.Equal(w, []byte{0}) { // not about to read the result
			return nil
		}
		for range 20 {
			var config [2]byte
			if err := l.Bus.Tx(address, []byte{1}, config[:]); err != nil {
				return err
			}
			if config[0]&0x80 != 0 {
				return nil
			}
			if err := l.wait(time.Millisecond); err != nil {
				return err
			}
		}
		return errEndless
	}
	full := c.FullScale
	if full == 0 {
		full = 4.096
	}
	var pins [4]ads1x15.PinADC
	for i := range pins {
		most := physic.ElectricPotential(full * float64(physic.Volt))
		if pins[i], err = dev.PinForChannel(ads1x15.Channel0+ads1x15.Channel(i), most, 128*physic.Hertz, ads1x15.BestQuality); err != nil {
			return nil, err
		}
	}
	return func(put func(string, float64, doubt.Limits)) error {
		for i, pin := range pins {
			sample, err := pin.Read()
			if err != nil {
				return err
			}
			// The largest number may stand for any larger voltage; below ground it measures the noise of 0 V.
			_, most := pin.Range()
			most.V -= most.V / (1 << 15)
			put(fmt.Sprintf("voltage%d_volts", i), float64(sample.V)/float64(physic.Volt),
				doubt.Limits{Low: -0.3, High: float64(most.V)/float64(physic.Volt) - 1e-9})
		}
		return nil
	}, nil
}

// monitor sets up an INA219: up to 26 V, and as much current as makes 0.32 V at the shunt. Current and power are reckoned from
// the two voltages and not taken from the chip's registers, which are 0 after its supply broke until somebody calibrates it again.
func monitor(l *line, c Chip) (reading, error) {
	shunt := c.Shunt
	if shunt == 0 {
		shunt = 0.1
	}
	dev, err := ina219.New(l, &ina219.Opts{Address: int(c.Address), SenseResistor: physic.ElectricResistance(shunt * float64(physic.Ohm)),
		MaxCurrent: physic.ElectricCurrent(0.32 / shunt * float64(physic.Ampere))})
	if err != nil {
		return nil, err
	}
	// The driver's setting ends at 16 V; this is the same one to 32 V: 320 mV, the mean of 128 conversions of 532 µs.
	if err := l.Tx(c.Address, []byte{0, 0x3f, 0xff}, nil); err != nil {
		return nil, err
	}
	return func(put func(string, float64, doubt.Limits)) error {
		p, err := dev.Sense()
		if err != nil {
			if l.err == nil {
				return errOutOfRange // its own overflow bit
			}
			return err
		}
		v, i := float64(p.Voltage)/float64(physic.Volt), float64(p.Shunt)/float64(physic.Volt)/shunt
		put(volts, v, doubt.Limits{High: 26})
		put("current_amperes", i, either(0.31999/shunt))
		put("power_watts", v*i, doubt.Limits{})
		return nil
	}, nil
}
