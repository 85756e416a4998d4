package sensors_test

import (
	"errors"
	"strings"
	"testing"

	"holdfast/collectors"
	"holdfast/collectors/sensors"
)

func TestSourcesSayWhatTheBoardHolds(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	seen := 0
	for _, tt := range []struct{ source, want string }{
		{"temperature", `
			temperature cpu-thermal: temperature_celsius=51.234 critical_celsius=110
			temperature ddr-thermal: temperature_celsius=-1.5
			temperature cpu-thermal:thermal_zone10: temperature_celsius=49
			temperature nvme/Composite: temperature_celsius=36.85 critical_celsius=84.85 alarm=false
			temperature nvme/temp2: temperature_celsius=40
			temperature nvme:hwmon2/Composite: temperature_celsius=37
			temperature sht4x/temp1: temperature_celsius=21.47
			`},
		{"hwmon", `
			hwmon ina3221/curr1: current_amperes=-0.45 alarm=true
			hwmon ina3221/energy1: energy_joules=12.5
			hwmon ina3221/VIN: voltage_volts=12.032
			hwmon ina3221/power1: power_watts=5.414
			hwmon rpi_volt/in0: alarm=true
			hwmon emc2305/fan1: fan_rpm=2450
			hwmon emc2305/fan2: fault=broken
			hwmon sht4x/humidity1: humidity_percent=45.3
			hwmon amps/power1: power_watts=2.5
			`},
		{"iio", `
			iio bme280/humidityrelative: humidity_percent=48.291
			iio bme280/pressure: pressure_pascals=101325
			iio bme280/temp: temperature_celsius=22.34
			iio ads1115/voltage0-voltage1: voltage_volts=0.0625
			iio ads1115/voltage0: voltage_volts=1.65
			iio ads1115/tank: voltage_volts=-0.0015
			iio bh1750/illuminance: illuminance_lux=250
			iio adc/current2: current_amperes=0.02
			iio adc/power: power_watts=1.5
			iio adc/temp: temperature_celsius=33.345
			`},
		{"w1", `
			w1 28-0316a2795cff: temperature_celsius=23.125
			w1 28-0316a2795d00: temperature_celsius=-0.5
			`},
		{"cooling", `
			cooling cpufreq-cpu0: state_ratio=0.25
			cooling pwm-fan: state_ratio=0
			cooling pwm-fan:cooling_device2: state_ratio=1
			`},
		{"power_supply", `
			power_supply BAT0: present=true status=discharging health=good charge_ratio=0.87 voltage_volts=3.9 current_amperes=-0.25 temperature_celsius=28.1
			power_supply mains: online=false
			power_supply usb: online=true
			`},
		{"flash", `
			flash mmcblk0: worn_a_ratio=0.2 worn_b_ratio=0.1 worn_out=false reserve=normal product=DG4016 manufacturer=0x000045 made=04/2024
			flash mmcblk1: product=SC32G made=11/2023
			flash 1d84000.ufshc: worn_a_ratio=1 worn_out=true reserve=urgent
			`},
	} {
		s := source(t, tt.source, root, clock)
		expect(t, tt.source, take(t, s), tt.want)
		for range 2 { // what does not change is said once
			again := show(take(t, s))
			if strings.Contains(again, "critical_celsius") || strings.Contains(again, "manufacturer") || strings.Count(again, "\n") != strings.Count(tt.want, "\n")-1 {
				t.Errorf("%s, a later round:\n%s", tt.source, again)
			}
		}
		seen++
	}
	if all := sensors.All(sensors.Options{}); len(all) != seen {
		t.Errorf("%d sources, %d of them seen here", len(all), seen)
	}
}

func TestABoardWithoutSensorsIsNoData(t *testing.T) {
	for _, s := range sensors.All(sensors.Options{Root: t.TempDir()}) {
		if samples, err := try(s); !errors.Is(err, collectors.ErrNoData) || len(samples) != 0 {
			t.Errorf("%s: %v, %v; want ErrNoData", s.Name(), samples, err)
		}
	}
}

// What is not as the kernel writes it is named, cut short and quoted; nothing is made up from it, and the others are read.
func TestGarbageIsAFailure(t *testing.T) {
	for _, tt := range []struct {
		source, file, instance string
		texts                  []string
	}{
		{"temperature", "sys/class/thermal/thermal_zone0/temp", "cpu-thermal", []string{"warm\n", "0x10\n", "NaN\n", "inf\n", "1_000\n", "1 2\n", "--1\n", strings.Repeat("1", 33)}},
		{"hwmon", "sys/class/hwmon/hwmon4/in1_input", "ina3221/VIN", []string{"high\n", "12,5\n"}},
		{"iio", "sys/bus/iio/devices/iio:device1/in_voltage0_scale", "ads1115/voltage0", []string{"one\n", "1e999999999\n"}},
		{"iio", "sys/bus/iio/devices/iio:device3/in_temp_offset", "adc/temp", []string{"-\n"}},
		{"w1", "sys/bus/w1/devices/28-0316a2795cff/w1_slave", "28-0316a2795cff", []string{"23125\n", "72 : crc=57 YES\n", "72 : crc=57 YES\nt=hot\n", "72 : crc=57 MAYBE\nt=1\n"}},
	} {
		for _, text := range tt.texts {
			root := rootOf(t)
			write(t, root, tt.file, text)
			samples, err := try(source(t, tt.source, root, newTicker()))
			if err == nil || errors.Is(err, collectors.ErrNoData) || len(of(samples, tt.instance)) != 0 {
				t.Errorf("%s with %.20q: %v and %s; want a failure", tt.source, text, err, show(of(samples, tt.instance)))
			} else if len(err.Error()) > 200 || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s with %.20q: message %q", tt.source, text, err)
			}
			if len(samples) == 0 {
				t.Errorf("%s with %.20q: the others were not read", tt.source, text)
			}
		}
	}
}
