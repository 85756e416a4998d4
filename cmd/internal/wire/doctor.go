package wire

import (
	"context"
	"path/filepath"
	"time"

	"holdfast/agent"
	"holdfast/agent/link"
	"holdfast/agent/link/mqtt"
	"holdfast/agent/local"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
)

// ID is the device's id by a configuration, and whether the configuration names it; empty when the machine has no name.
func ID(c config.Config) (id string, named bool) {
	if c.ID != "" {
		return c.ID, true
	}
	return linux.SuggestID(c.Root), false
}

// Clock is the machine's.
func Clock(c config.Config) board.Clock { return &linux.Clock{Vouched: c.Vouched} }

// Probe tries one broker of a configuration once, under the id of the device with /doctor behind it.
func Probe(ctx context.Context, c config.Config, d link.Dialect, clock board.Clock, broker string, m link.Message, limit time.Duration) (*mqtt.Trial, error) {
	s := d.Session()
	return mqtt.Probe(ctx, s, mqtt.Options{Brokers: []string{broker}, CAFile: c.Broker.CAFile, CertFile: c.Broker.CertFile,
		KeyFile: c.Broker.KeyFile, ServerName: c.Broker.ServerName, Clock: clock}, s.ClientID+"/doctor", m, limit)
}

// Status asks the running agent of a configuration.
func Status(ctx context.Context, c config.Config) (agent.Status, error) {
	return local.Ask(ctx, filepath.Join(c.RunDir, local.Name))
}

// Limits asks the warden of a configuration, once.
func Limits(ctx context.Context, c config.Config) (left map[string]warden.Left, fault string, err error) {
	client := &warden.Client{Dial: warden.Unix(Socket(c)), Reach: -1}
	return client.Limits(ctx)
}
