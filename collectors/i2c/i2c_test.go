package i2c_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	periph "periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"holdfast/board/boardtest"
	"holdfast/collectors"
	"holdfast/collectors/doubt"
	"holdfast/collectors/i2c"
)

// bus plays back what was recorded, and fails in the place of one exchange.
type bus struct {
	i2ctest.Playback
	at  int // of Ops; -1: never
	err error
}

func (b *bus) Tx(address uint16, w, r []byte) error {
	if b.Count == b.at {
		b.Count = len(b.Ops) // nothing may be asked after that
		return b.err
	}
	return b.Playback.Tx(address, w, r)
}

// A recording is a chip's words: when it is set up, and at each reading.
type recording struct {
	chip   i2c.Chip
	set    []i2ctest.IO
	sense  []i2ctest.IO
	fields string
}

func le(words ...int) (b []byte) {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint16(b, uint16(w))
	}
	return b
}

// The calibration and the raw words are those of the example in the BMP280's data sheet, 3.12: 25.08 °C and 100653.27 Pa.
var (
	calibration = append(le(27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000), 0, 75)
	pressed     = []byte{415148 >> 12, 415148 >> 4 & 0xff, 415148 & 0xf << 4, 519888 >> 12, 519888 >> 4 & 0xff, 519888 & 0xf << 4}
	moist       = []byte{0x6a, 0x01, 0, 324 >> 4, 324&0xf | 50&0xf<<4, 50 >> 4, 30} // H2 362, H3 0, H4 324, H5 50, H6 30
)

func io(address uint16, w, r []byte) i2ctest.IO { return i2ctest.IO{Addr: address, W: w, R: r} }

func bme() recording {
	return recording{i2c.Chip{Name: "cellar", Bus: "/dev/i2c-1", Address: 0x76, Kind: "bme280"},
		[]i2ctest.IO{io(0x76, []byte{0xd0}, []byte{0x60}), io(0x76, []byte{0x88}, calibration), io(0x76, []byte{0xe1}, moist),
			io(0x76, []byte{0xf4, 0x6c, 0xf2, 3, 0xf5, 0xa0, 0xf4, 0x6c}, nil)},
		[]i2ctest.IO{io(0x76, []byte{0xf4, 0x6d}, nil), io(0x76, []byte{0xf3}, []byte{0x08}), io(0x76, []byte{0xf3}, []byte{0}),
			io(0x76, []byte{0xf7}, append(slices.Clone(pressed), 0x6e, 0x10))},
		"temperature_celsius=25.08 pressure_pascals=100653 humidity_percent=40.9091"}
}

// humid is the compensation in floating point, as the BME280's data sheet has it in 8.1.
func humid(raw, celsius float64) float64 {
	h := celsius*5120 - 76800
	h = (raw - (324*64 + 50.0/16384*h)) * (362.0 / 65536 * (1 + 30.0/67108864*h*(1+0.0/67108864*h)))
	return h * (1 - 75*h/524288)
}

func TestTheRecordedHumidityIsWhatTheDataSheetMakesOfIt(t *testing.T) {
	for raw, want := range map[float64]float64{0x6e10: 40.9091, 0x8000: 66.457} {
		if got := humid(raw, 25.0825); math.Abs(got-want) > 0.01 {
			t.Errorf("%v: %v in floating point, %v recorded", raw, got, want)
		}
	}
}

func recordings() []recording {
	bmp := recording{i2c.Chip{Name: "roof", Bus: "/dev/i2c-1", Address: 0x77, Kind: "bmp280"},
		[]i2ctest.IO{io(0x77, []byte{0xd0}, []byte{0x58}), io(0x77, []byte{0x88}, calibration), io(0x77, []byte{0xf4, 0x6c, 0xf5, 0xa0, 0xf4, 0x6c}, nil)},
		[]i2ctest.IO{io(0x77, []byte{0xf4, 0x6d}, nil), io(0x77, []byte{0xf3}, []byte{0}), io(0x77, []byte{0xf7}, pressed)},
		"temperature_celsius=25.08 pressure_pascals=100653"}
	sht := recording{i2c.Chip{Name: "room", Bus: "/dev/i2c-1", Address: 0x44, Kind: "sht4x"}, nil,
		[]i2ctest.IO{io(0x44, []byte{0xfd}, nil), io(0x44, nil, []byte{0x66, 0x66, 0x93, 0xbe, 0xef, 0x92})}, // CRC of 0xbeef: data sheet, 4.4
		"temperature_celsius=25 humidity_percent=87.2307"}
	ads := recording{i2c.Chip{Name: "tank", Bus: "/dev/i2c-1", Address: 0x48, Kind: "ads1115"}, nil, nil,
		"voltage0_volts=1.65 voltage1_volts=-0.001 voltage2_volts=0 voltage3_volts=4.09575"}
	for i, raw := range []int16{13200, -8, 0, 32767 - 1} {
		ads.sense = append(ads.sense, io(0x48, []byte{1, 0xc3 + byte(i)<<4, 0x83}, nil), io(0x48, []byte{1}, []byte{0x43, 0x83}), io(0x48, []byte{1}, []byte{0xc3, 0x83}),
			io(0x48, []byte{0}, binary.BigEndian.AppendUint16(nil, uint16(raw))))
	}
	ina := recording{i2c.Chip{Name: "feed", Bus: "/dev/i2c-1", Address: 0x40, Kind: "ina219", Shunt: 0.05},
		[]i2ctest.IO{io(0x40, []byte{5, 0x10, 0x62}, nil), io(0x40, []byte{0, 0x1f, 0xff}, nil), io(0x40, []byte{0, 0x3f, 0xff}, nil)},
		[]i2ctest.IO{io(0x40, []byte{1}, binary.BigEndian.AppendUint16(nil, 0x10000-2500)), io(0x40, []byte{2}, binary.BigEndian.AppendUint16(nil, 6000<<3|2)),
			io(0x40, []byte{4}, []byte{0, 0}), io(0x40, []byte{3}, []byte{0, 0})},
		"voltage_volts=24 current_amperes=-0.5 power_watts=-12"}
	return []recording{bme(), bmp, sht, ads, ina}
}

// player is the source of chips on one bus that plays ops.
func player(b *bus, rules doubt.Rules, chips ...i2c.Chip) *i2c.Chips {
	b.DontPanic = true
	return i2c.New(i2c.Options{Clock: boardtest.Clock{}, Chips: chips, Rules: rules, Open: func(string) (periph.BusCloser, error) { return b, nil }})
}

func try(t *testing.T, s *i2c.Chips) (string, error) {
	t.Helper()
	var out strings.Builder
	err := s.Collect(t.Context(), func(s collectors.Sample) {
		fmt.Fprintf(&out, "%s %s:", s.Source, s.Instance)
		for _, f := range s.Fields {
			if !slices.ContainsFunc(i2c.Measures(), func(m collectors.Measure) bool { return m.Field == f.Name }) {
				t.Errorf("%s is in no table", f.Name)
			}
			if n, ok := f.Value.Number(); ok {
				fmt.Fprintf(&out, " %s=%.6g", f.Name, n)
			} else if text, ok := f.Value.Text(); ok {
				fmt.Fprintf(&out, " %s=%s", f.Name, text)
			}
		}
		out.WriteString("\n")
	})
	return out.String(), err
}

func join(lists ...[]i2ctest.IO) []i2ctest.IO { return slices.Concat(lists...) }

func TestChipsSayWhatWasRecorded(t *testing.T) {
	for _, r := range recordings() {
		synctest.Test(t, func(t *testing.T) {
			b := &bus{Playback: i2ctest.Playback{Ops: join(r.set, r.sense, r.sense)}, at: -1}
			s := player(b, nil, r.chip)
			for range 2 {
				if got, err := try(t, s); err != nil || got != "i2c "+r.chip.Name+": "+r.fields+"\n" {
					t.Errorf("%s: %v, %q; want %q", r.chip.Kind, err, got, r.fields)
				}
			}
			if err := b.Close(); err != nil {
				t.Errorf("%s: %v", r.chip.Kind, err)
			}
		})
	}
}

// A chip that stops to answer at any moment is gone, with no value made of half an answer; it is not asked for a second, and
// then set up as if it were new.
func TestAChipThatDoesNotAcknowledgeIsGoneAndComesBack(t *testing.T) {
	for _, r := range recordings() {
		ops := join(r.set, r.sense)
		for at := range ops {
			for _, errno := range []error{syscall.EREMOTEIO, syscall.ENXIO, syscall.EIO, syscall.ETIMEDOUT} {
				synctest.Test(t, func(t *testing.T) {
					b := &bus{Playback: i2ctest.Playback{Ops: ops}, at: at, err: fmt.Errorf("bus: %w", errno)}
					s := player(b, nil, r.chip)
					for range 2 {
						if got, err := try(t, s); err != nil || got != "i2c "+r.chip.Name+": fault=gone\n" {
							t.Errorf("%s, %v at %d: %v, %q", r.chip.Kind, errno, at, err, got)
						}
					}
					time.Sleep(time.Second)
					b.Count, b.at = 0, -1
					if got, err := try(t, s); err != nil || got != "i2c "+r.chip.Name+": "+r.fields+"\n" {
						t.Errorf("%s, %v at %d, back again: %v, %q", r.chip.Kind, errno, at, err, got)
					}
				})
			}
		}
	}
}

// count refuses everything and counts the questions.
type count struct {
	bus
	asked int
}

func (c *count) Tx(uint16, []byte, []byte) error { c.asked++; return syscall.ENXIO }

func TestAnAbsentChipIsAskedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &count{}
		s := i2c.New(i2c.Options{Clock: boardtest.Clock{}, Chips: []i2c.Chip{bme().chip}, Open: func(string) (periph.BusCloser, error) { return b, nil }})
		for range 600 {
			if got, err := try(t, s); err != nil || got != "i2c cellar: fault=gone\n" {
				t.Fatal(got, err)
			}
			time.Sleep(time.Second)
		}
		if b.asked < 14 || b.asked > 16 { // at 0, 1, 3, 7, 15, 31, 63, and then each minute of ten
			t.Errorf("asked %d times in ten minutes", b.asked)
		}
	})
}

func TestAWrongChecksumIsNoValue(t *testing.T) {
	for _, at := range []int{0, 2, 3, 5} {
		synctest.Test(t, func(t *testing.T) {
			r := recordings()[2]
			bad := slices.Clone(r.sense[1].R)
			bad[at] ^= 0x10
			b := &bus{Playback: i2ctest.Playback{Ops: join(r.sense[:1], []i2ctest.IO{io(0x44, nil, bad)}, r.sense)}, at: -1}
			s := player(b, nil, r.chip)
			if got, err := try(t, s); err != nil || got != "i2c room: fault=crc\n" {
				t.Errorf("byte %d: %v, %q", at, err, got)
			}
			if got, err := try(t, s); err != nil || got != "i2c room: "+r.fields+"\n" {
				t.Errorf("byte %d, the next: %v, %q", at, err, got)
			}
		})
	}
}

func TestAChipThatLostItsSettingsIsSetUpAgain(t *testing.T) {
	r := bme()
	skipped := slices.Clone(r.sense)
	skipped[3] = io(0x76, []byte{0xf7}, append(slices.Clone(pressed), 0x80, 0))
	asked := func(meas, hum byte) []i2ctest.IO {
		return []i2ctest.IO{io(0x76, []byte{0xf4}, []byte{meas}), io(0x76, []byte{0xf2}, []byte{hum})}
	}
	synctest.Test(t, func(t *testing.T) {
		b := &bus{Playback: i2ctest.Playback{Ops: join(r.set, skipped, asked(0x6c, 3), skipped, asked(0x6c, 0), r.set, r.sense)}, at: -1}
		s := player(b, nil, r.chip)
		for i, want := range []string{"temperature_celsius=25.08 pressure_pascals=100653 humidity_percent=66.457", "fault=power_on", r.fields} {
			if got, err := try(t, s); err != nil || got != "i2c cellar: "+want+"\n" {
				t.Errorf("reading %d: %v, %q; want %q", i, err, got, want)
			}
			time.Sleep(time.Second)
		}
	})
}

// stuckBus answers every question with the same byte, as a line that is held does.
type stuckBus struct {
	bus
	answer map[byte][]byte
	asked  int
}

func (b *stuckBus) Tx(_ uint16, w, r []byte) error {
	b.asked++
	for i := range r {
		r[i] = 0xff
	}
	if len(w) > 0 {
		copy(r, b.answer[w[0]])
	}
	return nil
}

func TestAChipThatNeverFinishesIsGivenUp(t *testing.T) {
	for _, tt := range []struct {
		chip   i2c.Chip
		answer map[byte][]byte
		most   int
	}{
		{bme().chip, map[byte][]byte{0xd0: {0x60}, 0x88: calibration, 0xe1: moist}, 1010},
		{recordings()[3].chip, map[byte][]byte{1: {0}}, 25},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &stuckBus{answer: tt.answer}
			s := i2c.New(i2c.Options{Clock: boardtest.Clock{}, Chips: []i2c.Chip{tt.chip}, Open: func(string) (periph.BusCloser, error) { return b, nil }})
			if got, err := try(t, s); err == nil || got != "" || !strings.Contains(err.Error(), "does not come to an end") {
				t.Errorf("%s: %q, %v", tt.chip.Kind, got, err)
			}
			if b.asked > tt.most {
				t.Errorf("%s: asked %d times", tt.chip.Kind, b.asked)
			}
		})
	}
}

func TestWhatAChipCannotMeasureIsOutOfRange(t *testing.T) {
	ads, ina := recordings()[3], recordings()[4]
	ads.sense[3] = io(0x48, []byte{0}, []byte{0x7f, 0xff})
	over, overflow := slices.Clone(ina.sense), slices.Clone(ina.sense[:2])
	over[0] = io(0x40, []byte{1}, []byte{0x7d, 0})            // 320 mV
	overflow[1] = io(0x40, []byte{2}, []byte{0xbb, 0x80 | 1}) // OVF
	low := 26.0
	for _, tt := range []struct {
		name  string
		chip  i2c.Chip
		ops   []i2ctest.IO
		rules doubt.Rules
		want  string
	}{
		{"ads1115 at its end", ads.chip, ads.sense, nil, "fault_field=voltage0_volts voltage1_volts=-0.001 voltage2_volts=0 voltage3_volts=4.09575 fault=out_of_range"},
		{"ina219 at its end", ina.chip, join(ina.set, over), nil, "voltage_volts=24 fault_field=current_amperes power_watts=153.6 fault=out_of_range"},
		{"ina219 overflows", ina.chip, join(ina.set, overflow), nil, "fault=out_of_range"},
		{"by a rule", recordings()[2].chip, recordings()[2].sense, doubt.Rules{{Field: "temperature_*", Low: &low}}, "fault_field=temperature_celsius humidity_percent=87.2307 fault=out_of_range"},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &bus{Playback: i2ctest.Playback{Ops: tt.ops}, at: -1}
			if got, err := try(t, player(b, tt.rules, tt.chip)); err != nil || got != "i2c "+tt.chip.Name+": "+tt.want+"\n" {
				t.Errorf("%s: %v, %q; want %q", tt.name, err, got, tt.want)
			}
		})
	}
}

func TestARepeatedReadingIsStuckWhereARuleSaysSo(t *testing.T) {
	r := recordings()[2]
	synctest.Test(t, func(t *testing.T) {
		b := &bus{Playback: i2ctest.Playback{Ops: join(r.sense, r.sense, r.sense)}, at: -1}
		s := player(b, doubt.Rules{{Source: "i2c", Instance: "room", StuckAfter: 3}}, r.chip)
		for i, want := range []string{r.fields, r.fields, "fault_field=temperature_celsius fault=stuck"} {
			if got, err := try(t, s); err != nil || got != "i2c room: "+want+"\n" {
				t.Errorf("reading %d: %v, %q", i, err, got)
			}
		}
	})
}

func TestAWrongBusOrChipIsAnErrorAndTheOthersAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sht := recordings()[2]
		b := &bus{Playback: i2ctest.Playback{Ops: join([]i2ctest.IO{io(0x76, []byte{0xd0}, []byte{0x58}), io(0x76, []byte{0x88}, calibration),
			io(0x76, []byte{0xf4, 0x6c, 0xf5, 0xa0, 0xf4, 0x6c}, nil)}, sht.sense, sht.sense)}, at: -1}
		b.DontPanic = true
		far := bme().chip
		far.Name, far.Bus = "far", "/dev/i2c-9"
		open := func(path string) (periph.BusCloser, error) {
			if path == "/dev/i2c-9" {
				return nil, fmt.Errorf("i2c bus: open %s: %w", path, syscall.EACCES)
			}
			return b, nil
		}
		s := i2c.New(i2c.Options{Clock: boardtest.Clock{}, Chips: []i2c.Chip{bme().chip, far, sht.chip}, Open: open})
		for range 2 { // the second without asking either again
			got, err := try(t, s)
			if err == nil || !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "chip cellar: is a BMP280 and no bme280") {
				t.Errorf("Collect = %v", err)
			}
			if got != "i2c room: "+sht.fields+"\n" {
				t.Errorf("samples %q", got)
			}
		}
	})
	if _, err := i2c.Open("/dev/null"); err == nil || !strings.Contains(err.Error(), "/dev/null: is none") {
		t.Errorf("Open(/dev/null) = %v", err)
	}
	if _, err := i2c.Open("/dev/i2c-none"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Open of what is not there = %v", err)
	}
	if err := i2c.New(i2c.Options{Clock: boardtest.Clock{}}).Collect(t.Context(), nil); !errors.Is(err, collectors.ErrNoData) {
		t.Errorf("without chips: %v", err)
	}
}

// A bus behind USB goes with all its chips, and comes back as a new one.
func TestABusThatGoesIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recordings()[2]
		first := &bus{Playback: i2ctest.Playback{Ops: r.sense}, at: 2, err: fmt.Errorf("bus: %w", syscall.ENODEV)}
		second := &bus{Playback: i2ctest.Playback{Ops: r.sense}, at: -1}
		first.DontPanic, second.DontPanic = true, true
		var present periph.BusCloser = first
		opened := 0
		s := i2c.New(i2c.Options{Clock: boardtest.Clock{}, Chips: []i2c.Chip{r.chip}, Open: func(path string) (periph.BusCloser, error) {
			if opened++; present == nil {
				return nil, fmt.Errorf("i2c bus: open %s: %w", path, syscall.ENOENT)
			}
			return present, nil
		}})
		for i, want := range []string{r.fields, "fault=gone", "fault=gone", r.fields} {
			if i == 1 {
				present = nil
			} else if i == 3 {
				present = second
			}
			if got, err := try(t, s); err != nil || got != "i2c room: "+want+"\n" {
				t.Errorf("reading %d: %v, %q", i, err, got)
			}
			time.Sleep(time.Minute)
		}
		if opened != 3 {
			t.Errorf("opened %d times", opened)
		}
		never := i2c.New(i2c.Options{Clock: boardtest.Clock{}, Chips: []i2c.Chip{r.chip}, Open: func(string) (periph.BusCloser, error) { return nil, syscall.ENOENT }})
		if got, err := try(t, never); !errors.Is(err, syscall.ENOENT) || got != "" {
			t.Errorf("a bus that never was: %v, %q", err, got)
		}
	})
}

// noise answers with what the fuzzer makes up, and with errors.
type noise struct {
	bus
	text []byte
	id   byte
}

func (n *noise) Tx(_ uint16, w, r []byte) error {
	if len(w) == 1 && w[0] == 0xd0 {
		r[0] = n.id
		return nil
	}
	for i := range r {
		if len(n.text) == 0 {
			return syscall.EIO
		}
		r[i], n.text = n.text[0], n.text[1:]
	}
	return nil
}

func FuzzChips(f *testing.F) {
	for _, r := range recordings() {
		var text []byte
		for _, op := range join(r.set, r.sense) {
			text = append(text, op.R...)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, r := range recordings() {
			synctest.Test(t, func(t *testing.T) {
				b := &noise{text: slices.Clone(text), id: map[string]byte{"bme280": 0x60, "bmp280": 0x58}[r.chip.Kind]}
				s := i2c.New(i2c.Options{Clock: boardtest.Clock{}, Chips: []i2c.Chip{r.chip}, Open: func(string) (periph.BusCloser, error) { return b, nil }})
				for range 3 {
					_ = s.Collect(t.Context(), func(s collectors.Sample) {
						for _, field := range s.Fields {
							if v, ok := field.Value.Number(); ok && (math.IsNaN(v) || math.IsInf(v, 0) || strings.HasSuffix(field.Name, "_percent") && !(v >= 0 && v <= 100)) {
								t.Errorf("%s = %v", field.Name, v)
							}
						}
					})
					time.Sleep(time.Minute)
				}
			})
		}
	})
}
