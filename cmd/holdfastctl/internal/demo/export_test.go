package demo

import (
	"io"
	"net"

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
