package config_test

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/internal/config"
)

var update = flag.Bool("update", false, "rewrite the generated documentation")

func TestAnEmptyFileIsTheDefaults(t *testing.T) {
	c, err := config.Parse("empty", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Telemetry.Period != config.Duration(10*time.Second) || c.Spool.LimitBytes != 16<<20 || c.Broker.Dialect != "plain" {
		t.Errorf("defaults = %+v", c)
	}
}

func TestAFileIsReadOverTheDefaults(t *testing.T) {
	c, err := config.Parse("good", []byte(`
id = "pump-7"
[broker]
urls = ["mqtts://broker.example.com:8883"]
[telemetry]
period = "30s"
[collectors.cpu]
period = "1s"
digest = "1m"
per_core = true
[collectors.processes]
enabled = false
[spool]
limit = "64MiB"
[network]
capacity = "10Mbit"
[lines.pump]
driver = "sim"
output = true
[labels]
site = "north"
`))
	if err != nil {
		t.Fatal(err)
	}
	cpu := c.Collectors["cpu"]
	if cpu.Period == nil || time.Duration(*cpu.Period) != time.Second || !cpu.PerCore || *c.Collectors["processes"].Enabled {
		t.Errorf("collectors = %+v", c.Collectors)
	}
	if c.Spool.LimitBytes != 64<<20 || c.Network.Capacity != 10e6 || !c.Lines["pump"].Output || c.Labels["site"] != "north" {
		t.Errorf("config = %+v", c)
	}
	if c.Spool.HoldOff != config.Duration(time.Minute) {
		t.Errorf("hold_off = %s, want the default beside a key that is set", c.Spool.HoldOff)
	}
}

func TestWhatIsWrongIsNamedWithItsPlaceAndTheNearestRightKey(t *testing.T) {
	for _, tt := range []struct {
		name, text, problem, hint string
		line, column              int
	}{
		{"misspelt key", "id = \"a\"\n[broker]\nulrs = [\"mqtt://x:1\"]\n", `no such key "broker.ulrs"`, `did you mean "urls"?`, 3, 1},
		{"misspelt section", "[brokr]\nurls = []\n", `no such key "brokr`, `did you mean "broker`, 1, 2},
		{"key of another section", "[telemetry]\nhold_off = \"1m\"\n", `no such key "telemetry.hold_off"`, `did you mean "spool.hold_off"?`, 2, 1},
		{"misspelt key of a named section", "[collectors.cpu]\nperoid = \"1s\"\n", `no such key "collectors.cpu.peroid"`, `did you mean "period"?`, 2, 1},
		{"wrong type", "[telemetry]\nin_flight = \"many\"\n", "", "", 2, 13},
		{"wrong duration", "[telemetry]\nperiod = \"ten\"\n", `"ten" is not a duration`, "", 2, 10},
		{"wrong size", "[spool]\nlimit = \"16 sheep\"\n", `"16 sheep" is not a size`, "", 2, 9},
		{"duration without a unit", "[broker]\nkeep_alive = 60\n", "broker.keep_alive: 60 is not a duration such as 10s", "", 2, 1},
		{"duration of a named section", "[collectors.cpu]\nperiod = 1.5\n", "collectors.cpu.period: 1.5 is not a duration", "", 2, 1},
		{"truth for a duration", "[telemetry]\nperiod = true\n", "telemetry.period: true is not a duration", "", 2, 1},
		{"speed without a unit", "[network]\ncapacity = 10\n", "network.capacity: 10 is not a speed such as 100Mbit", "", 2, 1},
		{"number for text", "id = 5\n", "id: want text, not a whole number", "", 1, 6},
		{"text for a list", "[broker]\nurls = \"mqtt://x\"\n", "broker.urls: want a list of texts, not text", "", 2, 8},
		{"fraction for a whole number", "[telemetry]\nin_flight = 1.5\n", "telemetry.in_flight: want a whole number, not a fraction", "", 2, 13},
		{"number for a section", "broker = 5\n", "broker: this key does not take a whole number", "", 1, 10},
		{"port out of range", "[broker]\nurls = [\"mqtt://x:99999\"]\n", `"mqtt://x:99999": a port is 1 to 65535`, "", 2, 1},
		{"no port after the colon", "[broker]\nurls = [\"mqtt://x:\"]\n", "a port is 1 to 65535", "", 2, 1},
		{"spool smaller than its segments", "[spool]\nlimit = \"1MiB\"\n", "spool.limit: 1MiB is not between 2MiB and 16GiB", "", 2, 1},
		{"misspelt collector", "[telemetry]\n\n  [collectors.cpuu] # busy\nperiod = \"1s\"\n", `collectors.cpuu: no such collector "cpuu"`, `did you mean "cpu"?`, 3, 4},
		{"nothing to clean", "[clean.logs]\npaths = [\"/etc/*\"]\n", "clean.logs.paths: paths: \"/etc/*\": /etc is nothing to clean", "", 2, 1},
		{"clean without a path", "[clean.logs]\nkeep_bytes = \"1MiB\"\n", "clean.logs.paths: paths: wants 1 to 16", "", 0, 0},
		{"clean by a bad name", "[clean.\"a b\"]\npaths = [\"/var/x/*\"]\n", "clean.a b: a name is 1 to 32", "", 0, 0},
		{"an interface that is none", "[interfaces]\ncycle = [\"eth0\", \"eth0:1\"]\n", "interfaces.cycle: interface \"eth0:1\": wants 1 to 15", "", 2, 1},
		{"command that there is not", "[commands]\nallow = [\"shell\"]\n", `commands.allow: no such command "shell"`, "there are ping, sample", 2, 1},
		{"out of range", "[telemetry]\nperiod = \"1ms\"\n", "telemetry.period: 1ms is not between 100ms and 24h", "", 2, 1},
		{"no edges at all", "[collectors.gpio]\nedges_per_second = 0\n", "collectors.gpio.edges_per_second: not between 1 and 1000", "", 2, 1},
		{"not TOML", "id = \n", "", "", 1, 6},
		{"hostile id", "id = \"a/b\"\n", `id: "a/b" is not 1 to 64`, "", 1, 1},
		{"not an address", "[broker]\nurls = [\"broker.example.com\"]\n", "is not an address such as", "", 2, 1},
		{"half a certificate", "[broker]\ncert_file = \"a.pem\"\n", "cert_file and key_file go together", "", 2, 1},
		{"place of a slot", "[update.parts.root]\na = \"root-a\"\nb = \"/dev/mmcblk0p3\"\n", `update.parts.root: "root-a" is neither a path nor PARTLABEL=…`, "", 1, 2},
		{"attempts in two digits", "[update.uboot]\nattempts = 10\n", "update.uboot.attempts: 10 is not between 1 and 9", "", 2, 1},
		{"attempts of no script", "[update.grub]\nattempts = 2\n", "update.grub: 2 attempts: want 1, for RAUC's own script, or 3", "", 1, 2},
		{"one name for both slots", "[update.grub]\na = \"B\"\n", "update.grub: boot name B is that of both slots", "", 1, 2},
		{"a copy that is none", "[update.grub]\ncopy = \"/boot/grub/grubenv\"\n", "is no absolute path of its own", "", 2, 1},
		{"partitions of other lengths", "[update.tryboot]\na = 9\nb = 10\n", "update.tryboot: partitions 9 and 10", "", 1, 2},
		{"no mount point", "[update.systemd_boot]\nesp = \"efi\"\n", `update.systemd_boot.esp: "efi" is no absolute path`, "", 2, 1},
		{"tryboot without systemd", "[power]\nreboot = [\"/sbin/reboot\"]\n[update]\nbootloader = \"tryboot\"\nparts.root = {a = \"/a\", b = \"/b\"}\n", "with tryboot systemd must restart", "", 2, 1},
		{"rules somewhere", "[rules]\ndir = \"rules.d\"\n", `rules.dir: "rules.d" is no absolute path`, "", 2, 1},
		{"rules from nowhere", "[rules]\ncontent = true\n", "rules.content: wants update.content", "", 2, 1},
		{"playbooks somewhere", "[repairs]\ndir = \"playbooks.d\"\n", `repairs.dir: "playbooks.d" is no absolute path`, "", 2, 1},
		{"playbooks from nowhere", "[repairs]\ncontent = true\n", "repairs.content: wants repairs.dir, and update.content", "", 2, 1},
		{"a switch somewhere", "[repairs]\noff_file = \"off\"\n", `repairs.off_file: "off" is no absolute path`, "", 2, 1},
		{"what is no fault", "[repairs]\narmed = [\"mem_leak\", \"Disk Full\"]\n", `repairs.armed: "Disk Full" is no name of a fault`, "", 2, 1},
		{"unknown dialect", "[broker]\ndialect = \"xmpp\"\n", "neither plain nor aws", "", 2, 1},
	} {
		_, err := config.Parse("test.toml", []byte(tt.text))
		var e *config.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error = %v, want a config.Error", tt.name, err)
			continue
		}
		if e.Line != tt.line || e.Column != tt.column {
			t.Errorf("%s: at %d:%d, want %d:%d (%v)", tt.name, e.Line, e.Column, tt.line, tt.column, e)
		}
		if !strings.Contains(e.Problem, tt.problem) || !strings.Contains(e.Hint, tt.hint) {
			t.Errorf("%s: %q, hint %q; want %q, %q", tt.name, e.Problem, e.Hint, tt.problem, tt.hint)
		}
	}
}

// A section of the reference ends where the next begins, so no key of a section may come after one below it.
func TestTheReferenceListsEveryKeyBelowItsSection(t *testing.T) {
	below := ""
	for _, line := range strings.Split(config.Reference(), "\n") {
		if name, found := strings.CutPrefix(line, "## `["); found {
			below = strings.TrimSuffix(name, "]`")
		}
		if strings.HasPrefix(line, "| `anchor` ") || strings.HasPrefix(line, "| `settle` ") {
			if below != "update" {
				t.Errorf("below [%s]: %s", below, line)
			}
		}
	}
}

func TestEveryProblemIsNamedAtOnce(t *testing.T) {
	_, err := config.Parse("test.toml", []byte("idd = \"a\"\n[spol]\nlimit = \"1MiB\"\n"))
	if err == nil || strings.Count(err.Error(), "no such key") != 2 {
		t.Errorf("error = %v, want both keys", err)
	}
}

func TestQuantitiesPrintAsTheyAreRead(t *testing.T) {
	for _, text := range []string{"1m", "10s", "1m30s", "1h", "24h", "100ms", "0s"} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != text {
			t.Errorf("duration %q reads as %s, %v", text, d, err)
		}
	}
	for _, text := range []string{"256KiB", "16MiB", "1GiB", "77", "0"} {
		var n config.Bytes
		if err := n.UnmarshalText([]byte(text)); err != nil || n.String() != text {
			t.Errorf("size %q reads as %s, %v", text, n, err)
		}
	}
	for _, text := range []string{"100Mbit", "250kbit", "2.5Gbit"} {
		var n config.Bits
		if err := n.UnmarshalText([]byte(text)); err != nil || n.String() != text {
			t.Errorf("speed %q reads as %s, %v", text, n, err)
		}
	}
}

func TestTheReferenceIsCurrent(t *testing.T) {
	const path = "../../../docs/configuration.md"
	const head = "# Configuration reference\n\n`/etc/holdfast/holdfast.toml`, read strictly: an unknown key is an error with its line, " +
		"its column and the nearest right key. Every key has a default; an agent that is told a broker starts.\n\n" +
		"Durations are written as `10s`, `1m30s`, `24h`; sizes as `256KiB`, `16MiB`; speeds as `100Mbit`.\n" +
		"This page is generated from the code: `go test ./cmd/internal/config -update`.\n"
	want := head + config.Reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the code says: go test ./cmd/internal/config -update", path)
	}
	for _, k := range config.Keys() {
		if k.Doc == "" {
			t.Errorf("%s: no doc", k.Path)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("id = \"a\"\n[broker]\nurls = [\"mqtt://x:1\"]\n")
	f.Add("[collectors.cpu]\nperiod = \"1s\"\n[lines.a]\ndriver = \"sim\"\n")
	f.Add("[telemetry]\nperiod = \"-1s\"\nin_flight = 99999999999999999999\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := config.Parse("fuzz", []byte(text))
		if err != nil {
			return
		}
		if c.Telemetry.Period < config.Duration(100*time.Millisecond) || c.Telemetry.InFlight < 1 || c.Spool.LimitBytes < 256<<10 {
			t.Errorf("accepted %+v", c)
		}
	})
}

func TestWhatIsBelievedOfSensors(t *testing.T) {
	c, err := config.Parse("good", []byte("[sensors.boiler]\ninstance = \"28-*\"\nmin = -10\nmax = 95.5\nstuck_after = 30\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Sensors["boiler"]; s.Instance != "28-*" || s.Min == nil || *s.Min != -10 || s.Max == nil || *s.Max != 95.5 || s.StuckAfter != 30 {
		t.Errorf("sensors = %+v", c.Sensors)
	}
	for _, tt := range []struct{ text, problem string }{
		{"[sensors.a]\ninstance = \"[\"\n", `sensors.a.instance: "[" is not a pattern`},
		{"[sensors.a]\nmin = 5\nmax = 5\n", "sensors.a.max: not above min"},
		{"[sensors.a]\nstuck_after = 1\n", "sensors.a.stuck_after: 1 is neither 0 nor"},
		{"[sensors.\"a/b\"]\nmin = 5\n", "sensors.a/b: a name is 1 to 64"},
	} {
		if _, err := config.Parse("bad", []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.problem)
		}
	}
}

func TestChipsOnI2C(t *testing.T) {
	c, err := config.Parse("good", []byte("[i2c.cellar]\nbus = \"/dev/i2c-1\"\naddress = 0x77\nchip = \"bme280\"\n[i2c.room]\nbus = \"/dev/i2c-1\"\nchip = \"sht4x\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if cellar, room := c.I2C["cellar"], c.I2C["room"]; cellar.At() != 0x77 || room.At() != 0x44 {
		t.Errorf("addresses %#x and %#x", cellar.At(), room.At())
	}
	for _, tt := range []struct{ text, problem string }{
		{"[i2c.a]\nchip = \"bme280\"\n", `i2c.a.bus: "" is not the path of a bus`},
		{"[i2c.a]\nbus = \"/dev/i2c-1\"\nchip = \"bme680\"\n", `i2c.a.chip: "bme680" is none of`},
		{"[i2c.a]\nbus = \"/dev/i2c-1\"\nchip = \"bme280\"\naddress = 0x7a\n", "i2c.a.address: a bme280 has none but 0x76 to 0x77"},
		{"[i2c.a]\nbus = \"/dev/i2c-1\"\nchip = \"bme280\"\naddress = 0x40\n", "i2c.a.address: a bme280 has none but 0x76 to 0x77"},
		{"[i2c.a]\nbus = \"/dev/i2c-1\"\nchip = \"ads1115\"\nfull_scale_volts = 12\n", "i2c.a.full_scale_volts: 12 is not"},
		{"[i2c.a]\nbus = \"/dev/i2c-1\"\nchip = \"ina219\"\nshunt_ohms = -0.1\n", "i2c.a.shunt_ohms: -0.1 is not"},
	} {
		if _, err := config.Parse("bad", []byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.problem)
		}
	}
}
