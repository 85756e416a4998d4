package demo

import (
	"context"
	"io"
	"net"
	"net/http"

	"holdfast/cmd/holdfastctl/internal/ledger"
)

// Device is the agent's id.
const Device = deviceID

// Carry makes f carry what passes between agent and hub.
func (o *Options) Carry(f func(agent, hub net.Conn)) { o.carry = f }

// Audit holds a subscriber's account against what an agent says that it made.
func Audit(book *ledger.Ledger, session string, last uint64) (seen string, err error) {
	s := &stage{tell: &teller{out: io.Discard}, watch: &watcher{book: book}}
	return s.audit(session, last)
}

// Releases are what the board is updated from and to.
type Releases = releases

// MakeReleases makes them below dir.
func MakeReleases(ctx context.Context, dir string) (*Releases, error) { return makeReleases(ctx, dir) }

// Use takes releases that were made before.
func (o *Options) Use(r *Releases) { o.releases = r }

// Around has f stand between the repository and the board.
func (o *Options) Around(f func(http.Handler) http.Handler) { o.around = f }

// Tamper has f change the files of the board, below dir, before it is switched on.
func (o *Options) Tamper(f func(dir string)) { o.tamper = f }

// Only leaves out all other chapters.
func (o *Options) Only(chapters ...string) { o.only = chapters }

// Service is what the agent looks after.
type Service = service

// ServiceName is its unit.
const ServiceName = serviceName

// NewService makes one that Run keeps running.
func NewService(argv []string, dir string, log io.Writer) *Service { return newService(argv, dir, log) }

// Run keeps the program running until ctx ends.
func (s *service) Run(ctx context.Context) error { return s.run(ctx) }

// Leak has the program begin to leak.
func (s *service) Leak(ctx context.Context) { s.leak(ctx) }

// Groups is where it has control groups.
func (s *service) Groups() string { return s.groups }
