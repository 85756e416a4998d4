package probe

import "holdfast/collectors"

// Measures returns what the source's fields mean.
func Measures() []collectors.Measure {
	return collectors.Describe("probe", "", [][3]string{
		{"verdict", "text", "how far the way to the cloud goes: ok, or where it ends: link, gateway, dns or upstream; unknown when nothing of it could be asked"},
		{"carrier", "truth", "the interface of the default route, or of the last one there was, has a link"},
		{"gateway_loss_ratio", "ratio", "of the last ten echoes asked of the gateway, how many did not come back within 2 s; left out where there is no gateway, and where it cannot be asked"},
		{"gateway_seconds", "s", "mean of the last echoes that came back; left out when none did"},
		{"dns_ok", "truth", "a server of resolv.conf answered, be it that there is no such name; left out without servers"},
		{"dns_seconds", "s", "what the last answer took"},
		{"broker_ok", "truth", "a connection to the broker's port could be made; left out while its address is not known"},
		{"broker_seconds", "s", "what the last connection took"},
		{"http_ok", "truth", "one of the configured servers answered with 2xx or 3xx; left out where none is configured"},
		{"http_seconds", "s", "what the last answer took, with the connection"},
	})
}
