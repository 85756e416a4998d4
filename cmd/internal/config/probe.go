package config

import (
	"net/netip"
	"net/url"
	"strconv"

	"holdfast/board/strict"
)

// Probe is how the way to the cloud is tried.
type Probe struct {
	DNS     string   `toml:"dns" doc:"The name that servers are asked for. Empty: the broker's, or the root where the broker is an address."`
	Gateway string   `toml:"gateway" doc:"The address that echoes are asked of. Empty: the gateway of the default route."`
	HTTP    []string `toml:"http" doc:"Servers to be asked as well, such as http://example.com/health; the first that answers counts. At most 4."`
	Metered *bool    `toml:"metered" doc:"The link costs by the byte: nearly nothing is sent while all is well. Absent: when its interface is a modem's."`
}

var (
	namePattern = strict.Pattern(`^(\.|[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?)$`)
	httpPattern = strict.Pattern(`^http://[A-Za-z0-9_.:\[\]-]{1,255}(/[!-~]{0,255})?$`)
)

func (p *Probe) check(bad func(ok bool, key, problem string, args ...any)) {
	bad(p.DNS == "" || namePattern(p.DNS) && len(p.DNS) <= 253, "probe.dns", "%q is not a name such as example.com", p.DNS)
	_, err := netip.ParseAddr(p.Gateway)
	bad(p.Gateway == "" || err == nil, "probe.gateway", "%q is not an address such as 192.0.2.1", p.Gateway)
	bad(len(p.HTTP) <= 4, "probe.http", "%d servers: at most 4", len(p.HTTP))
	for _, s := range p.HTTP {
		ok := httpPattern(s)
		if u, err := url.Parse(s); ok && err == nil && u.Port() != "" {
			n, err := strconv.Atoi(u.Port())
			ok = err == nil && n >= 1 && n <= 65535 && u.Hostname() != ""
		} else if ok {
			ok = err == nil && u.Hostname() != ""
		}
		bad(ok, "probe.http", "%q is not an address such as http://example.com/health", s)
	}
}
