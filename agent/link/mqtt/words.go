package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// errEarly marks what happened before the broker accepted the session.
var errEarly = errors.New("before CONNACK")

// errNoAnswer means that a limit passed.
var errNoAnswer = errors.New("no answer from the broker")

// refusals are the return codes of CONNACK (MQTT 3.1.1, table 3.1).
var refusals = []struct {
	is    error
	words string
}{
	{packets.ErrorRefusedBadProtocolVersion, "connection refused: the broker does not speak MQTT 3.1.1 (code 1)"},
	{packets.ErrorRefusedIDRejected, "connection refused: client id rejected (code 2)"},
	{packets.ErrorRefusedServerUnavailable, "connection refused: service unavailable (code 3)"},
	{packets.ErrorRefusedBadUsernameOrPassword, "connection refused: bad user name or password (code 4)"},
	{packets.ErrorRefusedNotAuthorised, "connection refused: not authorised (code 5)"},
}

// alerts are what a broker says of our certificate (RFC 8446, 6.2).
var alerts = map[tls.AlertError]string{
	40:  "broker and device have no TLS version or cipher in common",
	42:  "broker finds our certificate bad",
	43:  "broker does not take this kind of certificate",
	44:  "broker says that our certificate is revoked",
	45:  "broker says that our certificate has expired",
	46:  "broker does not accept our certificate",
	48:  "broker does not know the authority that signed our certificate",
	49:  "broker denies our certificate access",
	70:  "broker speaks another version of TLS",
	116: "broker wants a certificate of the device, and none is configured",
}

// A worded error says in words for the operator what its cause says for a programmer.
type worded struct {
	words string
	cause error
}

func (w *worded) Error() string { return w.words }
func (w *worded) Unwrap() error { return w.cause }

// explain puts an error into words.
func explain(err error) error {
	for _, look := range []func(error) string{refused, distrusted, unreached} {
		if words := look(err); words != "" {
			return &worded{words, err}
		}
	}
	return err
}

func refused(err error) string {
	for _, r := range refusals {
		if errors.Is(err, r.is) {
			return r.words
		}
	}
	return ""
}

func distrusted(err error) string {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		name      x509.HostnameError
		record    tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return "TLS: the broker's certificate is signed by an unknown authority"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("TLS: the broker's certificate has expired or is not yet valid (%s), or the clock is wrong", invalid.Detail)
	case errors.As(err, &invalid):
		return "TLS: the broker's certificate is invalid: " + invalid.Error()
	case errors.As(err, &name):
		return "TLS: name mismatch: " + name.Error()
	case errors.As(err, &record):
		return "TLS: the broker does not speak TLS on this port"
	case errors.As(err, &op) && op.Op == "remote error":
		for alert, words := range alerts {
			if op.Err.Error() == alert.Error() { // the type of a received alert is not exported
				return "TLS: " + words
			}
		}
		return "TLS: the broker says " + op.Err.Error()
	}
	return ""
}

func unreached(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("DNS: there is no %s", dns.Name)
	case errors.As(err, &dns):
		return fmt.Sprintf("DNS: no answer for %s: %s", dns.Name, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "TCP: connection refused, nothing listens there"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "TCP: no route to the broker"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "no answer from the broker in time"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if errors.Is(err, errEarly) {
			// With TLS 1.3 the broker judges our certificate after we have begun to talk, and a reset may overtake its verdict.
			return "the broker closed the connection before it accepted the session: " +
				"TLS on one side only, a certificate it does not accept, or no room"
		}
		return "the broker or the network closed the connection"
	}
	return ""
}
