package sensors

import (
	"slices"

	"holdfast/collectors"
)

const (
	fault = "what is wrong with the sensor: stuck, out_of_range, gone, crc, power_on or broken; then there is no value. Left out when nothing is"
	alarm = "the chip says that one of its limits is crossed; left out where it has none"
)

// Measures returns every field of every source of this package, as docs/measures.md lists them.
func Measures() []collectors.Measure {
	return slices.Concat(
		collectors.Describe("temperature", "the type of the thermal zone, or chip/label of the hwmon sensor", [][3]string{
			{"temperature_celsius", "°C", "as the sensor says; a sensor that sleeps is left out"},
			{"critical_celsius", "°C", "where the machine is shut down, or the chip calls it critical; in the first sample, and every ten minutes"},
			{"alarm", "truth", alarm},
			{"fault", "text", fault},
		}),
		collectors.Describe("hwmon", "chip/label, or chip/in0; temperatures are in a source of their own", [][3]string{
			{"voltage_volts", "V", "of an input in"},
			{"current_amperes", "A", "of an input curr"},
			{"power_watts", "W", "of an input power"},
			{"energy_joules", "J", "of an input energy, since the chip was switched on"},
			{"humidity_percent", "%", "relative humidity"},
			{"fan_rpm", "1/min", "turns of a fan"},
			{"alarm", "truth", alarm + ". Of Raspberry Pi's rpi_volt: the supply was below 4.63 V in the last two seconds"},
			{"fault", "text", fault},
		}),
		collectors.Describe("iio", "device/label, or device/voltage0", [][3]string{
			{"temperature_celsius", "°C", "of a channel temp"},
			{"pressure_pascals", "Pa", "of a channel pressure"},
			{"humidity_percent", "%", "relative humidity"},
			{"voltage_volts", "V", "of a channel voltage; in0-in1 where it is a difference"},
			{"current_amperes", "A", "of a channel current"},
			{"power_watts", "W", "of a channel power"},
			{"illuminance_lux", "lx", "brightness as the eye sees it"},
			{"fault", "text", fault},
		}),
		collectors.Describe("w1", "number of the thermometer, such as `28-0316a2795cff`", [][3]string{
			{"temperature_celsius", "°C", "of a thermometer on a 1-wire bus"},
			{"fault", "text", fault},
		}),
		collectors.Describe("cooling", "type of the cooling device", [][3]string{
			{"state_ratio", "ratio", "how hard it is at work: 0 for a fan that stands or a processor that runs freely"},
			{"fault", "text", fault},
		}),
		collectors.Describe("power_supply", "name of the battery, charger or mains", [][3]string{
			{"online", "truth", "it feeds the machine"},
			{"present", "truth", "the battery is in its place"},
			{"status", "text", "charging, discharging, full, not charging or unknown"},
			{"health", "text", "good, overheat, dead and so on"},
			{"charge_ratio", "ratio", "what is left in the battery"},
			{"voltage_volts", "V", "at its terminals"},
			{"current_amperes", "A", "that flows; the sign is the driver's, mostly below 0 out of a battery"},
			{"temperature_celsius", "°C", "of the battery"},
			{"fault", "text", fault},
			{"fault_field", "text", "the field that is left out for the fault; none when the whole is gone"},
		}),
		collectors.Describe("flash", "the block device, or the UFS host", [][3]string{
			{"worn_a_ratio", "ratio", "life used of the cells that hold one bit each, rounded up to tenths, of eMMC as of the machine's start; left out where the chip does not tell"},
			{"worn_b_ratio", "ratio", "life used of the others"},
			{"worn_out", "truth", "it was used for longer than it is made for"},
			{"reserve", "text", "spare blocks: normal, warning (80 % used) or urgent (90 %)"},
			{"product", "text", "the product's name on the chip"},
			{"manufacturer", "text", "number of the manufacturer; in the first sample, and every ten minutes"},
			{"made", "text", "month it was made; likewise"},
			{"fault", "text", fault},
		}),
	)
}
