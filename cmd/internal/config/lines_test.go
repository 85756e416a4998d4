package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/internal/config"
)

func TestLinesAreReadWithTheirInterlocks(t *testing.T) {
	c, err := config.Parse("good", []byte(`
[lines.pump]
line = "GPIO17"
output = true
safe = false
min_off = "30s"
max_on = "10m"
max_per_minute = 6
excludes = ["drain"]
[lines.drain]
line = "gpiochip0:27"
output = true
safe = true
[lines.door]
line = "GPIO4"
active_low = true
bias = "pull-up"
debounce = "20ms"
edges = "both"
`))
	if err != nil {
		t.Fatal(err)
	}
	pump, door := c.Lines["pump"], c.Lines["door"]
	if time.Duration(pump.MaxOn) != 10*time.Minute || pump.MaxPerMinute != 6 || len(pump.Excludes) != 1 || !door.ActiveLow || door.Edges != "both" {
		t.Errorf("%+v", c.Lines)
	}
}

func TestLinesThatCannotBeAreRefused(t *testing.T) {
	const out = "output = true\n"
	for name, tt := range map[string]struct{ text, problem string }{
		"no line":                      {out, "lines.a: which line is it?"},
		"unknown driver":               {"driver = \"sysfs\"\n", "none of gpio, pwm, sim"},
		"pwm as an input":              {"driver = \"pwm\"\nline = \"pwmchip0:1\"\nperiod = \"40us\"\n", "pwm wants output = true"},
		"pwm without a period":         {"driver = \"pwm\"\nline = \"pwmchip0:1\"\n" + out, "lines.a.period"},
		"pwm above all of it":          {"driver = \"pwm\"\nline = \"pwmchip0:1\"\nperiod = \"40us\"\nduty = 1.5\n" + out, "lines.a.duty"},
		"pwm the other way round":      {"driver = \"pwm\"\nline = \"pwmchip0:1\"\nperiod = \"40us\"\nactive_low = true\n" + out, "neither active_low nor bias"},
		"a period without pwm":         {"line = \"x\"\nperiod = \"40us\"\n" + out, "period and duty are for"},
		"a line of memory and a pin":   {"driver = \"sim\"\nline = \"GPIO1\"\n", "lines.a.line: a line of memory"},
		"unknown bias":                 {"line = \"x\"\nbias = \"up\"\n", "lines.a.bias"},
		"unknown edges":                {"line = \"x\"\nedges = \"all\"\n", "lines.a.edges"},
		"long debounce":                {"line = \"x\"\ndebounce = \"11s\"\n", "lines.a.debounce"},
		"negative time":                {"line = \"x\"\nmin_on = \"-1s\"\n" + out, "lines.a.min_on"},
		"long time":                    {"line = \"x\"\nmin_off = \"25h\"\n" + out, "lines.a.min_off"},
		"too many changes":             {"line = \"x\"\nmax_per_minute = 1001\n" + out, "lines.a.max_per_minute"},
		"edges of an output":           {"line = \"x\"\nedges = \"both\"\n" + out, "an output has no edges"},
		"interlock of an input":        {"line = \"x\"\nmin_on = \"1s\"\n", "interlocks and levels are for outputs"},
		"safe level of an input":       {"line = \"x\"\nsafe = true\n", "interlocks and levels are for outputs"},
		"at most less than at least":   {"line = \"x\"\nmin_on = \"2s\"\nmax_on = \"1s\"\n" + out, "lines.a.max_on"},
		"safe for good and at most":    {"line = \"x\"\nsafe = true\nmax_on = \"1s\"\n" + out, "lines.a.safe"},
		"excludes nobody":              {"line = \"x\"\nexcludes = [\"z\"]\n" + out, "lines.a.excludes: \"z\" is no other output"},
		"excludes itself":              {"line = \"x\"\nexcludes = [\"a\"]\n" + out, "lines.a.excludes"},
		"excludes an input":            {"line = \"x\"\nexcludes = [\"b\"]\n" + out + "[lines.b]\nline = \"y\"\n", "lines.a.excludes"},
		"both safe":                    {"line = \"x\"\nsafe = true\nexcludes = [\"b\"]\n" + out + "[lines.b]\nline = \"y\"\nsafe = true\n" + out, "lines.a.safe: so is b"},
		"both initial":                 {"line = \"x\"\ninitial = true\nexcludes = [\"b\"]\n" + out + "[lines.b]\nline = \"y\"\ninitial = true\n" + out, "lines.a.initial: so is b"},
		"both at the end":              {"line = \"x\"\nshutdown = true\nexcludes = [\"b\"]\n" + out + "[lines.b]\nline = \"y\"\nshutdown = true\n" + out, "lines.a.shutdown: so is b"},
		"one pin for two":              {"line = \"x\"\n[lines.b]\nline = \"x\"\n", "lines.b.line: a has it already"},
		"an input that begins at high": {"line = \"x\"\ninitial = true\n", "interlocks and levels are for outputs"},
	} {
		_, err := config.Parse("test.toml", []byte("[lines.a]\n"+tt.text))
		var e *config.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s: %v, want %q", name, err, tt.problem)
		}
	}
}
