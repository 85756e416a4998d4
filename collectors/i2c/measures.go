package i2c

import "holdfast/collectors"

// Measures returns what the source's fields mean.
func Measures() []collectors.Measure {
	return collectors.Describe("i2c", "name of the chip in the configuration", [][3]string{
		{celsius, "°C", "of bme280, bmp280 and sht4x"},
		{"pressure_pascals", "Pa", "of bme280 and bmp280: of the air where it is, not reduced to sea level"},
		{humidity, "%", "relative humidity, of bme280 and sht4x"},
		{volts, "V", "of ina219, between load and ground"},
		{"current_amperes", "A", "of ina219, through the shunt"},
		{"power_watts", "W", "of ina219"},
		{"voltage0_volts", "V", "of ads1115: input 0 against ground"},
		{"voltage1_volts", "V", "input 1"},
		{"voltage2_volts", "V", "input 2"},
		{"voltage3_volts", "V", "input 3"},
		{"fault", "text", "what is wrong: gone (the chip does not answer), crc, power_on (it has lost its settings), out_of_range or stuck; left out when nothing is"},
		{"fault_field", "text", "the field that is left out for the fault; none when it is of the whole chip"},
	})
}
