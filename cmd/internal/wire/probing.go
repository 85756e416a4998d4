package wire

import (
	"net/netip"
	"net/url"
	"strconv"

	"holdfast/cmd/internal/config"
	"holdfast/collectors/probe"
)

// probing is the source that tries the way to the cloud. linked says whether the agent is connected.
func probing(c config.Config, linked func() bool) *probe.Probe {
	o := probe.Options{Root: c.Root, Name: c.Probe.DNS, Metered: c.Probe.Metered, Linked: linked}
	o.Gateway, _ = netip.ParseAddr(c.Probe.Gateway) // checked by config; not valid where it is empty
	for _, s := range c.Broker.URLs {
		if t, ok := target(s); ok {
			t.Path = ""
			o.Brokers = append(o.Brokers, t)
		}
	}
	for _, s := range c.Probe.HTTP {
		if t, ok := target(s); ok {
			o.HTTP = append(o.HTTP, t)
		}
	}
	return probe.New(o)
}

// target is what a URL names.
func target(s string) (probe.Target, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return probe.Target{}, false
	}
	port := uint16(8883)
	switch u.Scheme {
	case "mqtt", "tcp":
		port = 1883
	case "http":
		port = 80
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(n)
	}
	return probe.Target{Host: u.Hostname(), Port: port, Path: u.RequestURI()}, port > 0
}
