package mqtt

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"holdfast/agent/link"
)

const (
	topicBytes = 1024 // longest topic we send or take; MQTT's own bound is 65,535
	idBytes    = 128
)

// parseBroker reads a URL as Options.Brokers has them. Credentials do not belong in it: it is shown in logs.
func parseBroker(s string) (endpoint, error) {
	u, err := url.Parse(s)
	if err != nil {
		return endpoint{}, errors.New("broker address is not a URL") // which may hold a password
	}
	e := endpoint{url: u, host: u.Hostname()}
	port := "1883"
	switch u.Scheme {
	case "mqtt", "tcp":
	case "mqtts", "ssl", "tls":
		e.tls, port = true, "8883"
	default:
		return endpoint{}, fmt.Errorf("broker %s: scheme %q is none of mqtt, mqtts", u.Redacted(), u.Scheme)
	}
	if u.User != nil {
		return endpoint{}, fmt.Errorf("broker %s: user and password do not belong in the address", u.Redacted())
	}
	if e.host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, fmt.Errorf("broker %s: want scheme://host:port", s)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	e.addr = net.JoinHostPort(e.host, port)
	return e, nil
}

// checkTopic tells whether s may be published to (MQTT 3.1.1, 4.7).
func checkTopic(s string) error {
	switch {
	case s == "" || len(s) > topicBytes:
		return fmt.Errorf("topic of %d bytes, between 1 and %d are allowed", len(s), topicBytes)
	case !utf8.ValidString(s) || strings.ContainsAny(s, "\x00+#"):
		return fmt.Errorf("topic %q has a wildcard or is not text", s)
	}
	return nil
}

// checkFilter tells whether s may be subscribed to.
func checkFilter(s string) error {
	if s == "" || len(s) > topicBytes || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return fmt.Errorf("filter %q is empty, too long or not text", s)
	}
	levels := strings.Split(s, "/")
	for i, level := range levels {
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && i < len(levels)-1 {
			return fmt.Errorf("filter %q has a wildcard where none may be", s)
		}
	}
	return nil
}

func checkSession(s link.Session) error {
	if s.ClientID == "" || len(s.ClientID) > idBytes || !utf8.ValidString(s.ClientID) || strings.ContainsRune(s.ClientID, 0) {
		return fmt.Errorf("client id of %d bytes, between 1 and %d of text are allowed", len(s.ClientID), idBytes)
	}
	if s.KeepAlive < time.Second || s.KeepAlive > 20*time.Minute {
		return fmt.Errorf("keep alive of %s, between 1s and 20m are allowed", s.KeepAlive)
	}
	if w := s.Will; w != nil {
		if err := checkTopic(w.Topic); err != nil {
			return fmt.Errorf("will: %w", err)
		}
		if len(w.Payload) > payloadBytes-1 || w.QoS > 1 {
			return fmt.Errorf("will of %d bytes with qos %d, at most 65535 and 1 are allowed", len(w.Payload), w.QoS)
		}
	}
	for _, f := range s.Filters {
		if err := checkFilter(f); err != nil {
			return err
		}
	}
	return nil
}

// check refuses what no broker would take; trying it again would not help.
func (c *Conn) check(m link.Message) error {
	if err := checkTopic(m.Topic); err != nil {
		return err
	}
	if limit := c.payloadLimit(); len(m.Payload) > limit {
		return fmt.Errorf("%s: payload of %d bytes, more than the %d the broker takes", m.Topic, len(m.Payload), limit)
	}
	if m.QoS > 1 {
		return fmt.Errorf("%s: qos %d, at most 1 is used", m.Topic, m.QoS)
	}
	return nil
}
