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
