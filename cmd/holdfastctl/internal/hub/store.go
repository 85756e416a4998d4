package hub

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// store keeps sessions, subscriptions, queued and retained messages in one bbolt file. It takes the place of mochi's
// own bolt hook, which forgets packet ids (so that of a whole queue one message survives a restart), stores
// subscriptions that were refused, and syncs once for each change: here everything that waits is one transaction.
type store struct {
	mqtt.HookBase
	db     *bbolt.DB
	log    *slog.Logger
	ops    chan op // 256: one for each client that publishes at this instant; more wait
	quit   chan struct{}
	end    sync.Once
	wg     sync.WaitGroup
	failed atomic.Int64
}

// An op is one change. A nil value deletes the key, or with prefix set every key that begins with it.
type op struct {
	key, value []byte
	prefix     bool
	done       chan struct{} // closed after the change is on disk; nil where nobody waits
}

var (
	bucket   = []byte("hub1")
	errStore = errors.New("the state directory cannot be written")
)

// The first byte of a key says what it holds; the client's id follows, ended by a zero, which no id contains.
const (
	clientKey   = 'c'
	filterKey   = 's'
	flightKey   = 'f'
	retainedKey = 'r'
)

func key(kind byte, id string, rest ...byte) []byte {
	return append(append(append([]byte{kind}, id...), 0), rest...)
}

func flight(client string, packet uint16) []byte {
	return key(flightKey, client, binary.BigEndian.AppendUint16(nil, packet)...)
}

func newStore(path string, log *slog.Logger) (*store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("hub: %s: in use by another hub", path)
	}
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %w", path, err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	}); err != nil {
		db.Close()
		return nil, fmt.Errorf("hub: %s: %w", path, err)
	}
	s := &store{db: db, log: log, ops: make(chan op, 256), quit: make(chan struct{})}
	s.wg.Go(s.write)
	return s, nil
}

func (s *store) close() {
	s.end.Do(func() {
		close(s.quit)
		s.wg.Wait()
		if err := s.db.Close(); err != nil {
			s.log.Error("close state", "why", err)
		}
	})
}

// failures counts transactions that did not make it to the disk. A nil store has none.
func (s *store) failures() int64 {
	if s == nil {
		return 0
	}
	return s.failed.Load()
}

// write applies what waits, all of it in one transaction, until the store is closed.
func (s *store) write() {
	for {
		var batch []op
		select {
		case o := <-s.ops:
			batch = append(batch, o)
		case <-s.quit:
			if batch = s.waiting(nil); len(batch) == 0 {
				return
			}
		}
		batch = s.waiting(batch)
		if err := s.db.Update(func(tx *bbolt.Tx) error { return apply(tx.Bucket(bucket), batch) }); err != nil {
			s.failed.Add(1)
			s.log.Error("write state", "why", err)
		}
		for _, o := range batch {
			if o.done != nil {
				close(o.done)
			}
		}
	}
}

func (s *store) waiting(batch []op) []op {
	for len(batch) < 1024 {
		select {
		case o := <-s.ops:
			batch = append(batch, o)
		default:
			return batch
		}
	}
	return batch
}

func apply(b *bbolt.Bucket, batch []op) error {
	for _, o := range batch {
		switch {
		case o.value != nil:
			if err := b.Put(o.key, o.value); err != nil {
				return err
			}
		case o.prefix:
			c := b.Cursor()
			for k, _ := c.Seek(o.key); bytes.HasPrefix(k, o.key); k, _ = c.Seek(o.key) {
				if err := b.Delete(k); err != nil {
					return err
				}
			}
		default:
			if err := b.Delete(o.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// put returns when the value is on disk, or when it is known that it will not be.
func (s *store) put(key []byte, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		s.failed.Add(1)
		s.log.Error("encode state", "why", err)
		return
	}
	done := make(chan struct{})
	select {
	case s.ops <- op{key: key, value: b, done: done}:
		<-done
	case <-s.quit:
		s.failed.Add(1)
	}
}

// drop returns at once: what comes back after a crash is at worst a duplicate, which QoS 1 allows.
func (s *store) drop(key []byte, prefix bool) {
	select {
	case s.ops <- op{key: key, prefix: prefix}:
	case <-s.quit:
	}
}

// forget removes everything of a session.
func (s *store) forget(client string) {
	for _, kind := range []byte{clientKey, filterKey, flightKey} {
		s.drop(key(kind, client), true)
	}
}

// kept reports whether the client's session outlives its connection.
func kept(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval > 0
	}
	return !cl.Properties.Clean
}

// each calls f with every value of a kind.
func (s *store) each(kind byte, f func(v []byte) error) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		for k, v := c.Seek([]byte{kind}); len(k) > 0 && k[0] == kind; k, v = c.Next() {
			if err := f(v); err != nil {
				return fmt.Errorf("key %q: %w", k, err)
			}
		}
		return nil
	})
}

func (s *store) message(cl string, pk packets.Packet, created int64) *storage.Message {
	p := pk.Properties
	return &storage.Message{
		Client: cl, Origin: pk.Origin, FixedHeader: pk.FixedHeader, TopicName: pk.TopicName, Payload: pk.Payload,
		PacketID: pk.PacketID, Created: created,
		Properties: storage.MessageProperties{
			PayloadFormat: p.PayloadFormat, PayloadFormatFlag: p.PayloadFormatFlag, MessageExpiryInterval: p.MessageExpiryInterval,
			ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
			SubscriptionIdentifier: p.SubscriptionIdentifier, User: p.User,
		},
	}
}
