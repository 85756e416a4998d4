package config_test

import (
	"strings"
	"testing"

	"holdfast/cmd/internal/config"
)

func TestHowTheWayIsTried(t *testing.T) {
	c, err := config.Parse("good", []byte("[probe]\ndns = \"example.com\"\ngateway = \"fe80::1\"\nmetered = false\n"+
		"http = [\"http://example.com\", \"http://192.0.2.7:8080/health?a=b\", \"http://[2001:db8::1]:80/\"]\n[collectors.probe]\nperiod = \"1m\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Probe; p.DNS != "example.com" || p.Gateway != "fe80::1" || p.Metered == nil || *p.Metered || len(p.HTTP) != 3 {
		t.Errorf("probe = %+v", p)
	}
	for _, tt := range []struct{ text, problem string }{
		{"dns = \"a..b\"", `probe.dns: "a..b" is not a name`},
		{"dns = \"a b\"", "is not a name"},
		{"gateway = \"router\"", `probe.gateway: "router" is not an address`},
		{"http = [\"https://example.com\"]", "probe.http: \"https://example.com\" is not an address"},
		{"http = [\"http://example.com:0\"]", "is not an address"},
		{"http = [\"http://example.com:99999/\"]", "is not an address"},
		{"http = [\"http://user:secret@example.com/\"]", "is not an address"},
		{"http = [\"http://example.com/a b\"]", "is not an address"},
		{"http = [\"http://example.com/\\r\\nX: y\"]", "is not an address"},
		{"http = [\"http://:80/\"]", "is not an address"},
		{"http = [\"http://a\", \"http://a\", \"http://a\", \"http://a\", \"http://a\"]", "probe.http: 5 servers: at most 4"},
	} {
		if _, err := config.Parse("bad", []byte("[probe]\n"+tt.text+"\n")); err == nil || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s: %v, want %s", tt.text, err, tt.problem)
		}
	}
}
