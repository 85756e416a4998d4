package doctor

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"holdfast/agent/link"
	"holdfast/agent/link/mqtt"
	"holdfast/cmd/internal/wire"
)

// steps are the checks of one broker, each of which builds on the one before.
var steps = []string{"dns", "tcp", "tls", "login", "subscribe", "publish"}

// brokers tries each broker. The agent uses the first that takes it, so that a broken one beside a good one is a warning.
func (x *examination) brokers(ctx context.Context) {
	urls := x.o.Config.Broker.URLs
	why := ""
	d, err := wire.Dialect(x.o.Config, x.id)
	switch {
	case x.id == "":
		why = "because there is no identity"
	case errors.Is(err, fs.ErrPermission) && x.o.UID != 0:
		why = "needs root: " + err.Error()
	case err != nil:
		x.add(Check{Name: "credentials", Outcome: Fail, Seen: err.Error(), Hint: "broker.password_file names a file whose first line is the password"})
		why = "because credentials failed"
	}
	ctx, cancel := context.WithTimeout(ctx, brokersLimit)
	defer cancel()
	first, good := len(x.checks), false
	for i, url := range urls {
		if why != "" {
			for _, name := range steps {
				x.skip(name, url, why)
			}
			continue
		}
		share, cancel := context.WithTimeout(ctx, brokersLimit/time.Duration(len(urls)))
		m, err := x.event(d)
		var t *mqtt.Trial
		if err == nil {
			t, err = wire.Probe(share, x.o.Config, d, x.o.Clock, url, m, x.o.Step)
		}
		cancel()
		if err != nil {
			x.add(Check{Name: "dns", Subject: url, Outcome: Fail, Seen: err.Error(), Hint: fmt.Sprintf("correct entry %d of broker.urls", i+1)})
			continue
		}
		x.broker(t, d)
		good = good || t.Login.OK()
	}
	for i := first; i < len(x.checks) && good; i++ {
		if c := &x.checks[i]; c.Outcome == Fail && (c.Name == "dns" || c.Name == "tcp" || c.Name == "tls" || c.Name == "login") {
			c.Outcome = Warn
			c.Detail = append(c.Detail, "another broker takes this device")
		}
	}
}

// lacks says which file for TLS only root can read, if there is one and we are not root. Name and port can be tried all
// the same.
func (x *examination) lacks() string {
	b := x.o.Config.Broker
	for _, name := range []string{b.CAFile, b.CertFile, b.KeyFile} {
		if name == "" || x.o.UID == 0 {
			continue
		}
		if _, err := readBounded(name); errors.Is(err, fs.ErrPermission) {
			return name
		}
	}
	return ""
}

// event is the publication that is tried: a record of its own session, which no receiver takes for a gap.
func (x *examination) event(d link.Dialect) (link.Message, error) {
	var session [8]byte
	rand.Read(session[:])
	return d.Encode(link.Outbound{Event: fmt.Appendf(nil, `{"session":%q,"seq":1,"kind":"doctor","time":%q,"trusted":%t}`,
		hex.EncodeToString(session[:]), x.now.UTC().Format(time.RFC3339), x.o.Clock.Trusted())})
}

// broker puts a trial into checks.
func (x *examination) broker(t *mqtt.Trial, d link.Dialect) {
	failed, lacking := "", x.lacks()
	look := func(name string, s mqtt.Step, judge func() Check) {
		switch {
		case failed != "":
			x.skip(name, t.Broker, "because "+failed+" failed")
			return
		case lacking != "" && t.Secure && name != "dns" && name != "tcp":
			x.skip(name, t.Broker, "needs root: this user cannot read "+lacking)
			return
		case !s.Tried && name == "tls":
			x.add(x.unencrypted(t))
			return
		}
		c := judge()
		c.Name, c.Subject = name, t.Broker
		if c.Outcome == "" {
			c.Outcome = OK
		}
		if x.add(c); s.Err != nil {
			failed = name
		}
	}
	look("dns", t.Resolve, func() Check { return x.dns(t) })
	look("tcp", t.Dial, func() Check { return x.tcp(t) })
	look("tls", t.Handshake, func() Check { return x.tls(t) })
	look("login", t.Login, func() Check { return x.login(t) })
	look("subscribe", mqtt.Step{Tried: true}, func() Check { return x.subscribe(t, d) })
	look("publish", t.Publish, func() Check { return x.publish(t) })
}

func took(s mqtt.Step) string {
	if ms := s.Took.Milliseconds(); ms > 0 {
		return fmt.Sprintf("%d ms", ms)
	}
	return "under 1 ms"
}

func (x *examination) dns(t *mqtt.Trial) Check {
	if net.ParseIP(t.Host) != nil {
		return Check{Seen: t.Host + " is an address already"}
	}
	if err := t.Resolve.Err; err != nil {
		return Check{Outcome: Fail, Seen: err.Error(),
			Hint: "look at broker.urls for a slip of the pen and at /etc/resolv.conf for a server; then: getent hosts " + t.Host}
	}
	c := Check{Seen: fmt.Sprintf("%s is %s (%s)", t.Host, strings.Join(t.Addresses, ", "), took(t.Resolve))}
	if t.Resolve.Took > 2*time.Second {
		c.Outcome, c.Hint = Warn, "the first server in /etc/resolv.conf may be dead: every reconnect waits for it"
	}
	return c
}

func (x *examination) tcp(t *mqtt.Trial) Check {
	if err := t.Dial.Err; err != nil {
		hint := "a firewall drops it, or there is no way out: look at ip route and at the port in broker.urls"
		if strings.Contains(err.Error(), "refused") {
			hint = "the host is there and the port is closed: look at the port in broker.urls, and whether the broker runs"
		}
		return Check{Outcome: Fail, Seen: err.Error(), Hint: hint}
	}
	return Check{Seen: fmt.Sprintf("%s answers (%s)", t.Remote, took(t.Dial))}
}

// unencrypted is the check of TLS where there is none.
func (x *examination) unencrypted(t *mqtt.Trial) Check {
	c := Check{Name: "tls", Subject: t.Broker, Outcome: Warn, Seen: "not used: everybody on the way can read and write along",
		Hint: "use mqtts:// in broker.urls, and broker.ca_file for the authority that signed the broker's certificate"}
	if ip := net.ParseIP(t.Host); t.Host == "localhost" || ip != nil && ip.IsLoopback() {
		c.Outcome, c.Seen, c.Hint = Skipped, "not used, and not needed on this machine itself", ""
	}
	return c
}

const serverDays = 14 // of a certificate's life left before it is time to worry: what renews by itself does so earlier

func (x *examination) tls(t *mqtt.Trial) Check {
	c := Check{}
	for _, cert := range t.Chain[:min(len(t.Chain), 8)] {
		c.Detail = append(c.Detail, describe(cert, x.now))
	}
	err := t.Handshake.Err
	if err != nil {
		c.Outcome, c.Seen, c.Hint = Fail, err.Error(), x.tlsHint(t, err)
		return c
	}
	c.Seen = t.Protocol
	if len(t.Chain) == 0 {
		return c
	}
	days := daysLeft(t.Chain[0], x.now)
	switch {
	case !x.o.Clock.Trusted():
		c.Seen += ", trusted, though the clock could not tell whether it is still valid"
	case days < serverDays:
		c.Outcome, c.Hint = Warn, "renew the broker's certificate: when it ends, no device connects"
		fallthrough
	default:
		c.Seen += fmt.Sprintf(", trusted, the broker's certificate is good for %d days", days)
	}
	return c
}

const ownCertificate = "give the device a certificate of an authority the broker knows: broker.cert_file and broker.key_file"

func (x *examination) tlsHint(t *mqtt.Trial, err error) string {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		name      x509.HostnameError
		path      *fs.PathError
		record    tls.RecordHeaderError
	)
	broker := x.o.Config.Broker
	switch {
	case errors.As(err, &path):
		return "see the checks certificate and authorities"
	case errors.As(err, &authority) && len(t.Chain) > 0:
		issuer := t.Chain[len(t.Chain)-1].Issuer.String()
		if broker.CAFile == "" {
			return "set broker.ca_file to the certificate of " + issuer + ", or install the package ca-certificates"
		}
		return broker.CAFile + " must hold the certificate of " + issuer
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && len(t.Chain) > 0 && x.now.Before(t.Chain[0].NotBefore):
		return "the clock is behind: set it, and see the check clock"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the broker's certificate, unless the check clock shows that the clock is ahead"
	case errors.As(err, &name) && len(t.Chain) > 0:
		return "use one of " + names(t.Chain[0]) + " in broker.urls, or set broker.server_name to it"
	case strings.Contains(err.Error(), "our certificate"), strings.Contains(err.Error(), "certificate of the device"):
		return ownCertificate
	case errors.As(err, &record), strings.Contains(err.Error(), "one side only"):
		return "this port may be the broker's without TLS: the one with TLS is usually 8883"
	}
	return "see the checks certificate and authorities; then: openssl s_client -connect " + strings.TrimPrefix(t.Broker, "mqtts://")
}

func (x *examination) login(t *mqtt.Trial) Check {
	as := "as client " + x.id + "/doctor"
	err := t.Login.Err
	if err == nil {
		return Check{Seen: fmt.Sprintf("accepted %s (%s)", as, took(t.Login))}
	}
	c := Check{Outcome: Fail, Seen: err.Error()}
	broker := x.o.Config.Broker
	rejected := errors.Is(err, packets.ErrorRefusedIDRejected)
	switch {
	case x.status != nil && x.status.Link.Up && x.status.Link.Broker == t.Broker:
		c.Outcome = Warn
		c.Detail = []string{"the running agent is connected to this broker: it takes the device, and does not take the doctor's client id beside it"}
		c.Hint = "nothing is wrong with the agent; to let the doctor look closer, let the broker take client ids that begin with " + x.id + "/"
	case rejected:
		c.Hint = "the doctor connects " + as + " so that it does not end the agent's session: let the broker take it, or start the agent and look at holdfast status"
	case strings.Contains(err.Error(), "certificate"):
		c.Hint = ownCertificate
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		c.Hint = "the broker does not know this device: set broker.user and broker.password_file, or broker.cert_file and broker.key_file"
		if broker.User != "" {
			c.Hint = fmt.Sprintf("compare user %q and the first line of %s with what the broker has; its log says more", broker.User, orNone(broker.PasswordFile))
		} else if broker.CertFile != "" {
			c.Hint = "the broker trusts the certificate and does not know its name: add the CN the check certificate shows to its users or access list"
		}
	default:
		c.Hint = "the broker's log says why it closed; a port that wants TLS is spoken to with mqtts://"
	}
	return c
}

func orNone(file string) string {
	if file == "" {
		return "broker.password_file, which is not set,"
	}
	return file
}

func (x *examination) subscribe(t *mqtt.Trial, d link.Dialect) Check {
	c := Check{}
	granted := 0
	for _, s := range t.Subscriptions {
		if s.Err != nil {
			c.Detail = append(c.Detail, s.Filter+": "+s.Err.Error())
		} else {
			granted++
		}
	}
	all := len(d.Session().Filters)
	c.Seen = fmt.Sprintf("%d of %d topics", granted, all)
	if granted < all {
		c.Outcome = Fail
		c.Hint = "let the broker's access list give " + x.id + " these topics to read; docs/topics.md has them all"
	}
	return c
}

func (x *examination) publish(t *mqtt.Trial) Check {
	switch {
	case !t.Publish.Tried:
		return Check{Outcome: Skipped, Seen: "because the broker closed the connection at a subscription"}
	case t.Publish.Err != nil:
		return Check{Outcome: Fail, Seen: t.Publish.Err.Error(),
			Hint: "let the broker's access list give " + x.id + " its own topics to write; docs/topics.md has them all"}
	case t.Returned:
		return Check{Seen: fmt.Sprintf("an event was acknowledged and passed on (%s)", took(t.Publish))}
	case t.Watched:
		return Check{Outcome: Warn, Seen: "an event was acknowledged and not passed on: the broker drops what this device publishes, or what it reads of its own events",
			Hint: "look for a denied PUBLISH of " + x.id + "/doctor in the broker's log, or for its event with holdfastctl record"}
	}
	return Check{Seen: fmt.Sprintf("an event was acknowledged (%s); whether it was passed on cannot be seen with this device's rights", took(t.Publish))}
}
