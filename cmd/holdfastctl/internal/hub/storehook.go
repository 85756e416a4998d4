package hub

import (
	"encoding/json"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The store as mochi calls it.

func (s *store) ID() string { return "store" }

func (s *store) Provides(b byte) bool {
	switch b {
	case mqtt.OnSessionEstablished, mqtt.OnDisconnect, mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnRetainMessage,
		mqtt.OnQosPublish, mqtt.OnQosComplete, mqtt.OnQosDropped, mqtt.OnClientExpired, mqtt.OnRetainedExpired,
		mqtt.StoredClients, mqtt.StoredSubscriptions, mqtt.StoredInflightMessages, mqtt.StoredRetainedMessages:
		return true
	}
	return false
}

// Stop is called by mochi after the last client has gone.
func (s *store) Stop() error {
	s.close()
	return nil
}

func (s *store) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if !kept(cl) {
		s.forget(cl.ID) // of an earlier session under the same id
		return
	}
	s.put(key(clientKey, cl.ID), &storage.Client{
		ID: cl.ID, Listener: cl.Net.Listener, Remote: cl.Net.Remote, Username: cl.Properties.Username,
		Clean: cl.Properties.Clean, ProtocolVersion: cl.Properties.ProtocolVersion,
		Properties: storage.ClientProperties{
			SessionExpiryInterval:     cl.Properties.Props.SessionExpiryInterval,
			SessionExpiryIntervalFlag: cl.Properties.Props.SessionExpiryIntervalFlag,
		},
	})
}

func (s *store) OnDisconnect(cl *mqtt.Client, _ error, expire bool) {
	if expire && !cl.IsTakenOver() {
		s.forget(cl.ID)
	}
}

func (s *store) OnSubscribed(cl *mqtt.Client, pk packets.Packet, codes []byte) {
	for i, f := range pk.Filters {
		if !kept(cl) || i >= len(codes) || codes[i] > packets.CodeGrantedQos2.Code {
			continue
		}
		s.put(key(filterKey, cl.ID, []byte(f.Filter)...), &storage.Subscription{
			Client: cl.ID, Filter: f.Filter, Qos: codes[i], Identifier: f.Identifier, NoLocal: f.NoLocal,
			RetainHandling: f.RetainHandling, RetainAsPublished: f.RetainAsPublished,
		})
	}
}

func (s *store) OnUnsubscribed(cl *mqtt.Client, pk packets.Packet) {
	for _, f := range pk.Filters {
		s.drop(key(filterKey, cl.ID, []byte(f.Filter)...), false)
	}
}

func (s *store) OnRetainMessage(cl *mqtt.Client, pk packets.Packet, r int64) {
	if r == -1 {
		s.drop(key(retainedKey, pk.TopicName), false)
		return
	}
	pk.PacketID = 0
	s.put(key(retainedKey, pk.TopicName), s.message(cl.ID, pk, pk.Created))
}

// OnQosPublish stores what a session still has to receive. mochi also tells of the PUBACK it is about to send; that is
// worth no disk write.
func (s *store) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if kept(cl) && pk.FixedHeader.Type != packets.Puback {
		s.put(flight(cl.ID, pk.PacketID), s.message(cl.ID, pk, pk.Created))
	}
}

func (s *store) OnQosComplete(cl *mqtt.Client, pk packets.Packet) {
	if kept(cl) && !(pk.FixedHeader.Type == packets.Puback && pk.Created != 0) {
		s.drop(flight(cl.ID, pk.PacketID), false)
	}
}

func (s *store) OnQosDropped(cl *mqtt.Client, pk packets.Packet) {
	if kept(cl) {
		s.drop(flight(cl.ID, pk.PacketID), false)
	}
}

func (s *store) OnClientExpired(cl *mqtt.Client) { s.forget(cl.ID) }

func (s *store) OnRetainedExpired(topic string) { s.drop(key(retainedKey, topic), false) }

func (s *store) StoredClients() ([]storage.Client, error) {
	return all[storage.Client](s, clientKey)
}

func (s *store) StoredSubscriptions() ([]storage.Subscription, error) {
	return all[storage.Subscription](s, filterKey)
}

func (s *store) StoredInflightMessages() ([]storage.Message, error) {
	return all[storage.Message](s, flightKey)
}

func (s *store) StoredRetainedMessages() ([]storage.Message, error) {
	return all[storage.Message](s, retainedKey)
}

func all[T any](s *store, kind byte) (list []T, err error) {
	err = s.each(kind, func(b []byte) error {
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		list = append(list, v)
		return nil
	})
	return list, err
}
