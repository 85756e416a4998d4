package config

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Probe is how the way to the cloud is tried.
type Probe struct {
	DNS     string   `toml:"dns" doc:"The name that servers are asked for. Empty: the broker's, or the root where the broker is an address."`
	Gateway string   `toml:"gateway" doc:"The address that echoes are asked of. Empty: the gateway of the default route."`
	HTTP    []string `toml:"http" doc:"Servers to be asked as well, such as http://example.com/health; the first that answers counts. At most 4."`
	Metered *bool    `toml:"metered" doc:"The link costs by the byte: nearly nothing is sent while all is well. Absent: when its interface is a modem's."`
}

func (p *Probe) check(bad func(ok bool, key, problem string, args ...any)) {
	bad(p.DNS == "" || idPattern(p.DNS) && !strings.Contains(p.DNS, ".."), "probe.dns", "%q is not a name such as example.com", p.DNS)
	_, err := netip.ParseAddr(p.Gateway)
	bad(p.Gateway == "" || err == nil, "probe.gateway", "%q is not an address such as 192.0.2.1", p.Gateway)
	bad(len(p.HTTP) <= 4, "probe.http", "%d servers: at most 4", len(p.HTTP))
	for _, s := range p.HTTP {
		bad(isServer(s), "probe.http", "%q is not an address such as http://example.com/health", s)
	}
}

func isServer(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > 512 || strings.ContainsAny(s, " \r\n") || u.Scheme != "http" || u.User != nil || u.Hostname() == "" {
		return false
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && n > 0
}
