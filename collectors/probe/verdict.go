package probe

// A Finding is what is known of one part of the way.
type Finding uint8

// The findings. A question that has been under way for long makes Unknown of what was Good.
const (
	Unknown Finding = iota
	Good
	Bad
)

// A Way is what is known of all of it. HTTP counts where nothing is known of the broker.
type Way struct {
	Route                               bool // there is a default route
	Carrier, Gateway, DNS, Broker, HTTP Finding
}

// Verdict says where the way ends. A broker that is reached proves all before it but the names: gateways that answer no echo
// are many. A gateway that is silent is blamed before what lies behind it, and names alone when the broker is reached, or
// nothing can be told of it.
func (w Way) Verdict() string {
	beyond := w.Broker
	if beyond == Unknown {
		beyond = w.HTTP
	}
	switch {
	case w.Carrier == Bad, !w.Route && beyond != Good && w.DNS != Good:
		return "link"
	case beyond == Good && w.DNS == Bad:
		return "dns"
	case beyond == Good:
		return "ok"
	case w.Gateway == Bad:
		return "gateway"
	case beyond == Bad:
		return "upstream"
	case w.DNS == Bad:
		return "dns"
	case w.DNS == Good:
		return "ok"
	}
	return "unknown"
}
