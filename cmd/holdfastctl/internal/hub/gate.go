package hub

import (
	"cmp"
	"errors"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// gate is the hook that lets clients in, keeps them to their topics, and sees to the order of things.
type gate struct {
	mqtt.HookBase
	srv   *mqtt.Server
	store *store       // nil without a state directory
	inner *mqtt.Client // publishes for the others, past the access list
	users Users
	log   *slog.Logger
	last  atomic.Int64 // the newest stamp
	seed  maphash.Seed
	turns [64]sync.Mutex // by the topic's hash
}

func newGate(srv *mqtt.Server, st *store, o Options) *gate {
	return &gate{srv: srv, store: st, inner: srv.NewClient(nil, "hub", "hub", true), users: o.Users, log: o.Log,
		seed: maphash.MakeSeed()}
}

func (g *gate) ID() string { return "gate" }

func (g *gate) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnDisconnect, mqtt.OnPublish, mqtt.OnPublishDropped, mqtt.OnClientExpired, mqtt.OnPacketRead,
		mqtt.OnPacketEncode:
		return true
	}
	return false
}

var errIdentity = errors.New("neither a certificate nor a known name and password")

// OnConnectAuthenticate finds out who the client is. The answer becomes the session's user name, and is kept with it.
func (g *gate) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return false
	}
	p, why := g.identify(c, cl.Net.Listener, pk)
	if why == "" {
		why = g.objection(p, cl, pk)
	}
	if why != "" {
		c.refused = true
		g.log.Warn("refused", "remote", cl.Net.Remote, "peer", p.String(), "client", cl.ID, "why", why)
		return false
	}
	c.peer = p
	cl.Properties.Username = []byte(p.String())
	return true
}

func (g *gate) identify(c *conn, listener string, pk packets.Packet) (p peer, why string) {
	switch {
	case c.cert != nil:
		p = *c.cert
	case g.users != nil:
		name := string(pk.Connect.Username)
		if !g.users.check(name, string(pk.Connect.Password)) {
			return peer{name: name}, errIdentity.Error()
		}
		p = peer{operator: operatorName(name), name: name}
	case listener == "plain":
		p = local
	default:
		return p, errIdentity.Error()
	}
	if !p.known() {
		return p, "the name in the certificate is not a device id (1 to 64 of A-Z a-z 0-9 _ . -)"
	}
	return p, ""
}

// objection says what of the CONNECT the peer may not ask for, or "".
func (g *gate) objection(p peer, cl *mqtt.Client, pk packets.Packet) string {
	if pk.Connect.WillFlag && !p.may(pk.Connect.WillTopic, true) {
		return "may not leave a will on " + pk.Connect.WillTopic
	}
	if !pk.Connect.Clean && !p.owns(cl.ID) {
		return "a device keeps its session under its own id: the client id must be " + p.name + " or begin with " + p.name + "/"
	}
	old, taken := g.srv.Clients.Get(cl.ID)
	if taken && string(old.Properties.Username) != p.String() && (p.operator || !p.owns(cl.ID)) {
		return "client id belongs to " + string(old.Properties.Username)
	}
	return ""
}

func peerFor(cl *mqtt.Client) peer {
	if c, ok := cl.Net.Conn.(*conn); ok {
		return c.peer
	}
	return parsePeer(string(cl.Properties.Username)) // a session read from the store
}

// OnACLCheck answers for subscriptions, for each delivery, and for publications. A denied publication of an MQTT 3.1.1
// client is let through to OnPublish, which acknowledges and drops it as mosquitto does: mochi would cut the
// connection, and an agent with one wrong topic would do nothing but reconnect.
func (g *gate) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	if write && cl.Properties.ProtocolVersion < 5 {
		return true
	}
	if peerFor(cl).may(topic, write) {
		if c, ok := cl.Net.Conn.(*conn); ok && !write {
			c.afterQueue()
		}
		return true
	}
	if write {
		g.denied(cl, "publish to", topic)
	} else {
		g.denied(cl, "read", topic)
	}
	return false
}

func (g *gate) denied(cl *mqtt.Client, deed, topic string) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return
	}
	if n, tell := c.count(deed + " " + topic); tell {
		g.log.Warn("denied", "peer", c.peer.String(), "client", cl.ID, "may_not", deed, "topic", topic, "times", n)
	}
}

// OnPacketRead keeps the client's packet ids apart from the hub's. mochi has one table for both: a SUBSCRIBE whose id
// happens to be that of a message on its way to the client would be refused, and a PUBLISH would take that message's
// place in the queue.
func (g *gate) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return pk, nil
	}
	c.alias, c.original = 0, 0
	switch t := pk.FixedHeader.Type; {
	case t == packets.Subscribe, t == packets.Unsubscribe, t == packets.Publish && pk.FixedHeader.Qos == 1:
	default:
		return pk, nil
	}
	if _, taken := cl.State.Inflight.Get(pk.PacketID); !taken {
		return pk, nil
	}
	for id := uint16(65535); id > 0; id-- {
		if _, taken := cl.State.Inflight.Get(id); !taken {
			c.alias, c.original, pk.PacketID = id, pk.PacketID, id
			break
		}
	}
	return pk, nil
}

// OnPacketEncode gives the answer to such a packet the id the client knows.
func (g *gate) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Suback, packets.Unsuback, packets.Puback: // written by the goroutine that reads, as c.alias is
		if c, ok := cl.Net.Conn.(*conn); ok && c.alias != 0 && pk.PacketID == c.alias {
			pk.PacketID = c.original
		}
	}
	return pk
}

// OnPublish hands a publication to its subscribers before mochi acknowledges it, not after.
func (g *gate) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl == g.inner {
		pk.Origin, pk.Connect.ClientIdentifier = pk.Connect.ClientIdentifier, ""
		pk.Created = g.stamp()
		return pk, nil
	}
	if !peerFor(cl).may(pk.TopicName, true) {
		g.denied(cl, "publish to", pk.TopicName)
		return pk, packets.CodeSuccessIgnore
	}
	// One at a time for a topic: mochi would let each subscriber see two publications in another order, and keep
	// either of them.
	turn := &g.turns[maphash.String(g.seed, pk.TopicName)%uint64(len(g.turns))]
	turn.Lock()
	defer turn.Unlock()
	lost := g.store.failures()
	in := pk
	in.Connect.ClientIdentifier = cl.ID
	in.Properties.TopicAlias, in.Properties.TopicAliasFlag = 0, false
	if err := g.srv.InjectPacket(g.inner, in); err != nil {
		g.log.Error("publish", "client", cl.ID, "topic", pk.TopicName, "why", err)
		cl.Stop(err)
		return pk, packets.ErrRejectPacket
	}
	if g.store.failures() != lost {
		// Not stored is not acknowledged: the client keeps it and sends it again.
		cl.Stop(errStore)
		return pk, packets.ErrRejectPacket
	}
	return pk, packets.CodeSuccessIgnore
}

// stamp numbers publications in their order, in nanoseconds since 1970 where the clock allows. mochi sorts by whole
// seconds and so forgets the order within one.
func (g *gate) stamp() int64 {
	for {
		last := g.last.Load()
		next := max(last+1, time.Now().UnixNano())
		if g.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// takeover is how long the end of a replaced connection is waited for. It is closed, so nothing in it can wait for its
// peer; its will may wait for another client that is slow to read.
const takeover = 30 * time.Second

// OnSessionEstablish ends the connection that cl replaces, waits until its will is out, and puts the queue in order.
func (g *gate) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	old, ok := g.srv.Clients.Get(cl.ID)
	if !ok {
		return
	}
	if c, ok := old.Net.Conn.(*conn); ok {
		// Not old.Stop: when the client is just being served, mochi would take its stop for an orderly end and keep
		// the will back.
		c.replaced.Store(true)
		c.Close()
		select {
		case <-c.gone:
		case <-time.After(takeover):
			g.log.Error("the connection that was replaced does not end", "client", cl.ID)
		}
	}
	queue := old.State.Inflight.GetAll(false)
	slices.SortStableFunc(queue, func(a, b packets.Packet) int { return cmp.Compare(a.Created, b.Created) })
	for i, pk := range queue {
		pk.Created = int64(i) // mochi sorts by the low 16 bits of it; a queue is shorter than that
		old.State.Inflight.Set(pk)
	}
}

// OnSessionEstablished is called when the queue has been sent.
func (g *gate) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if c, ok := cl.Net.Conn.(*conn); ok {
		close(c.ready)
	}
	g.log.Info("connected", "peer", peerFor(cl).String(), "client", cl.ID, "remote", cl.Net.Remote,
		"listener", cl.Net.Listener, "queued", cl.State.Inflight.Len())
}

func (g *gate) OnDisconnect(cl *mqtt.Client, err error, _ bool) {
	if cl.Net.Conn == nil {
		return // read from the store at start
	}
	why := "closed by the client without a word"
	switch cause := cl.StopCause(); {
	case errors.Is(cause, packets.CodeDisconnect):
		why = "left"
	case replaced(cl):
		why = "replaced by a newer connection of the same client id"
	case err != nil && err.Error() != "EOF":
		why = err.Error()
	}
	g.log.Info("gone", "peer", peerFor(cl).String(), "client", cl.ID, "remote", cl.Net.Remote, "why", why)
}

func replaced(cl *mqtt.Client) bool {
	c, ok := cl.Net.Conn.(*conn)
	return ok && c.replaced.Load()
}

func (g *gate) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	if c, ok := cl.Net.Conn.(*conn); ok {
		if n, tell := c.count("lost"); tell {
			g.log.Error("lost: the client does not read fast enough", "client", cl.ID, "topic", pk.TopicName, "times", n)
		}
	}
}

// OnClientExpired forgets the subscriptions too, which mochi leaves behind.
func (g *gate) OnClientExpired(cl *mqtt.Client) {
	g.srv.UnsubscribeClient(cl)
	cl.ClearInflights()
	g.log.Info("session expired", "client", cl.ID)
}
