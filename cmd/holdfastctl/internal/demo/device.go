package demo

import (
	"context"
	"errors"
	"log/slog"
)

// errEnded means that the agent has ended by itself.
var errEnded = errors.New("the agent has ended")

// A device is the agent of this machine. Chapters look into it only for what no broker can show: a simulated line, and
// whether the agent itself knows what happened to it.
type device struct {
	lines  map[string]line
	link   func(ctx context.Context) (link, error)
	newest func() (session string, seq uint64) // the last record it made, whether or not that left
	stop   context.CancelFunc
	ended  <-chan struct{} // closed when it has ended
	err    func() error    // why; call it after ended is closed
}

// A line is a GPIO line as its far end sees it.
type line interface {
	Level() bool
	Set(high bool)
}

// A link is what the agent knows of its connection.
type link struct {
	up      bool
	why     string // it is down
	waiting int    // records that are not delivered, as of a few seconds ago
}

// settings are what of an agent's configuration the demo chooses.
type settings struct {
	dir     string // for its files
	broker  string
	version string
	log     *slog.Logger
	level   *slog.LevelVar
	service *service
}

// The agent's names.
const (
	deviceID = "demo"
	pump     = "pump" // an output
	door     = "door" // an input
)
