package hub_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/hub"
)

// rawClient speaks MQTT packet by packet, as no library would.
type rawClient struct {
	net.Conn
	t *testing.T
}

type will struct{ topic, payload string }

func raw(t *testing.T, c net.Conn, err error) *rawClient {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{c, t}
}

func rawPlain(t *testing.T, addr string) *rawClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	return raw(t, c, err)
}

func rawTLS(t *testing.T, dir, device, addr string) *rawClient {
	t.Helper()
	base := filepath.Join(dir, "devices", device)
	pair, err := tls.LoadX509KeyPair(base+".crt", base+".key")
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	c, err := tls.Dial("tcp", addr, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "localhost"})
	return raw(t, c, err)
}

func (r *rawClient) send(p packets.ControlPacket) {
	r.t.Helper()
	if err := p.Write(r); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rawClient) read() packets.ControlPacket {
	r.t.Helper()
	p, err := packets.ReadPacket(r)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rawClient) connect(id string, clean bool, w *will) {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.ClientIdentifier, p.CleanSession, p.Keepalive = "MQTT", 4, id, clean, 60
	if w != nil {
		p.WillFlag, p.WillRetain, p.WillQos, p.WillTopic, p.WillMessage = true, true, 1, w.topic, []byte(w.payload)
	}
	r.send(p)
}

func (r *rawClient) connack() byte {
	r.t.Helper()
	return r.read().(*packets.ConnackPacket).ReturnCode
}

func (r *rawClient) subscribe(id uint16, filter string) {
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = id, []string{filter}, []byte{1}
	r.send(p)
}

func (r *rawClient) publish(id uint16, topic, payload string) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.MessageID, p.TopicName, p.Payload, p.Qos = id, topic, []byte(payload), 1
	r.send(p)
}

// A client subscribes at every connect, and its first packet ids are those of the messages queued for it.
func TestPacketIDsOfTheTwoSidesAreApart(t *testing.T) {
	h := start(t, hub.Options{Listen: "127.0.0.1:0"})
	first := rawPlain(t, h.Plain)
	first.connect("d1", false, nil)
	first.connack()
	first.subscribe(1, "holdfast/d1/command")
	first.read()
	first.send(packets.NewControlPacket(packets.Disconnect))
	h.log.await(t, "gone", "client=d1", "left")
	operator := dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	for i := range 3 {
		publish(t, operator, "holdfast/d1/command", fmt.Sprint(i), false)
	}

	r := rawPlain(t, h.Plain)
	r.connect("d1", false, nil)
	r.connack()
	ids := map[uint16]bool{}
	for range 3 {
		ids[r.read().(*packets.PublishPacket).MessageID] = true
	}
	for id := range ids {
		r.subscribe(id, "holdfast/d1/command") // before any of them is acknowledged
		ack := r.read().(*packets.SubackPacket)
		if ack.MessageID != id || ack.ReturnCodes[0] != 1 {
			t.Errorf("SUBACK %+v for id %d", ack, id)
		}
		r.publish(id, "holdfast/d1/telemetry", "{}")
		if ack := r.read().(*packets.PubackPacket); ack.MessageID != id {
			t.Errorf("PUBACK %+v for id %d", ack, id)
		}
	}
	r.Close()
	// None was acknowledged by the client: all three come again.
	r = rawPlain(t, h.Plain)
	r.connect("d1", false, nil)
	r.connack()
	for i := range 3 {
		if p := r.read().(*packets.PublishPacket); string(p.Payload) != fmt.Sprint(i) || !p.Dup {
			t.Errorf("message %d: %+v", i, p)
		}
	}
}

// The old connection's will says offline, the new one says online: in this order, however fast the new one comes.
func TestWillIsOutBeforeTheSessionGoesOn(t *testing.T) {
	h := start(t, hub.Options{Listen: "127.0.0.1:0", State: t.TempDir()}) // a will that is synced to disk is slow
	operator := dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	subscribe(t, operator, "holdfast/d1/status")
	for i := range 50 {
		r := rawPlain(t, h.Plain)
		r.connect("d1", i%2 == 0, &will{"holdfast/d1/status", fmt.Sprintf("offline %d", i)})
		r.connack()
		r.publish(1, "holdfast/d1/status", fmt.Sprintf("online %d", i))
		r.read()
		if i > 0 {
			if got := next(t, operator); got != fmt.Sprintf("holdfast/d1/status offline %d", i-1) {
				t.Fatalf("got %s", got)
			}
		}
		if got := next(t, operator); got != fmt.Sprintf("holdfast/d1/status online %d", i) {
			t.Fatalf("got %s", got)
		}
	}
}

// A new connection with a clean session makes the hub forget, on disk too.
func TestCleanSessionIsForgottenForGood(t *testing.T) {
	dir := t.TempDir()
	h := start(t, hub.Options{Listen: "127.0.0.1:0", State: dir})
	c := dial(t, client.Options{Broker: h.Plain, ID: "d1", Timeout: patience})
	subscribe(t, c, "holdfast/d1/command")
	c.Close()
	operator := dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	publish(t, operator, "holdfast/d1/command", "queued", false)
	r := rawPlain(t, h.Plain)
	r.connect("d1", true, nil)
	r.connack()
	r.subscribe(1, "holdfast/d1/other")
	r.read()
	r.Close()
	h.stop()
	h = start(t, hub.Options{Listen: "127.0.0.1:0", State: dir})
	c = dial(t, client.Options{Broker: h.Plain, ID: "d1", Timeout: patience})
	if c.Resumed() {
		t.Error("the session is still there")
	}
	operator = dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	subscribe(t, c, "mark")
	publish(t, operator, "holdfast/d1/command", "not subscribed to any more", false)
	publish(t, operator, "mark", "x", false)
	if got := next(t, c); got != "mark x" {
		t.Errorf("got %s", got)
	}
}

func TestEverybodySeesATopicInTheSameOrder(t *testing.T) {
	h := start(t, hub.Options{Listen: "127.0.0.1:0"})
	const writers, each = 4, 200
	var readers []*client.Client
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 3 {
		c := dial(t, client.Options{Broker: h.Plain, Timeout: patience})
		subscribe(t, c, "t")
		readers = append(readers, c)
	}
	for w := range writers {
		c := dial(t, client.Options{Broker: h.Plain, Timeout: patience})
		wg.Go(func() {
			for i := range each {
				if err := c.Publish(t.Context(), "t", fmt.Appendf(nil, "%d/%d", w, i), true); err != nil {
					t.Error(err)
				}
			}
		})
	}
	last := ""
	for i := range writers * each {
		last = next(t, readers[0])
		for _, r := range readers[1:] {
			if got := next(t, r); got != last {
				t.Fatalf("message %d is %s to one and %s to another", i, last, got)
			}
		}
	}
	kept, err := readers[0].Retained(t.Context(), "t")
	if err != nil || len(kept) != 1 || "t "+string(kept[0].Payload) != last {
		t.Errorf("kept %v (%v), the last was %s", kept, err, last)
	}
}

func TestSubscriberThatStopsReadingHoldsUpNobodyForLong(t *testing.T) {
	h := start(t, hub.Options{Listen: "127.0.0.1:0", Limits: hub.Limits{Write: 200 * time.Millisecond}})
	stalled := rawPlain(t, h.Plain)
	stalled.connect("stalled", true, nil)
	stalled.connack()
	stalled.subscribe(1, "#")
	stalled.read()
	operator := dial(t, client.Options{Broker: h.Plain, Timeout: patience})
	payload := strings.Repeat("x", 200_000)
	for range 200 { // 40 MB, more than any socket buffers
		publish(t, operator, "holdfast/d1/telemetry", payload, false)
	}
	h.log.await(t, "gone", "client=stalled")
}

func TestPacketsAndConnectionsAreBounded(t *testing.T) {
	h := start(t, hub.Options{Listen: "127.0.0.1:0", Limits: hub.Limits{PacketBytes: 1000}})
	big := rawPlain(t, h.Plain)
	if _, err := big.Write([]byte{0x10, 0xff, 0xff, 0xff, 0x7f}); err != nil { // CONNECT of 256 MB
		t.Fatal(err)
	}
	if n, err := big.Read(make([]byte, 1)); err == nil {
		t.Errorf("an answer of %d bytes", n)
	}
	h.log.await(t, "refused", "packet")
	h = start(t, hub.Options{Listen: "127.0.0.1:0", Limits: hub.Limits{Clients: 2}})
	one, two := rawPlain(t, h.Plain), rawPlain(t, h.Plain)
	for i, r := range []*rawClient{one, two} {
		r.connect(fmt.Sprint("d", i), true, nil)
		if code := r.connack(); code != 0 {
			t.Fatalf("connack %d", code)
		}
	}
	third := rawPlain(t, h.Plain)
	if n, err := third.Read(make([]byte, 1)); err == nil {
		t.Errorf("the third of two got %d bytes", n)
	}
}

// Independent peers over mutual TLS.
func TestMosquittoClientsWork(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not there: it is in the Debian package mosquitto-clients")
		}
	}
	dir := certificates(t)
	h := start(t, mutual(t, dir))
	_, port, err := net.SplitHostPort(h.TLS)
	if err != nil {
		t.Fatal(err)
	}
	run := func(tool, who string, more ...string) *exec.Cmd {
		base := filepath.Join(dir, who)
		return exec.Command(tool, append([]string{"-h", "localhost", "-p", port, "-q", "1", "-V", "mqttv311", "--cafile",
			filepath.Join(dir, "ca.crt"), "--cert", base + ".crt", "--key", base + ".key"}, more...)...)
	}
	// The operator desires something; the device finds it there.
	if out, err := run("mosquitto_pub", "operators/ann", "-r", "-t", "holdfast/d1/shadow/desired", "-m", `{"version":1}`).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := run("mosquitto_sub", "devices/d1", "-i", "d1", "-t", "holdfast/d1/shadow/desired", "-C", "1", "-W", "15", "-v").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != `holdfast/d1/shadow/desired {"version":1}` {
		t.Errorf("%v: %s", err, out)
	}
	// A device subscribes with a session of its own, goes away, and gets its command afterwards.
	if out, err := run("mosquitto_sub", "devices/d1", "-i", "d1", "-c", "-E", "-t", "holdfast/d1/command").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := run("mosquitto_pub", "operators/ann", "-t", "holdfast/d1/command", "-m", "queued").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err = run("mosquitto_sub", "devices/d1", "-i", "d1", "-c", "-t", "holdfast/d1/command", "-C", "1", "-W", "15").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "queued" {
		t.Errorf("%v: %s", err, out)
	}
	// MQTT 5 is told what 3.1.1 cannot be: that a publication was denied.
	five := run("mosquitto_pub", "devices/d1", "-t", "holdfast/d1/command", "-m", "x")
	for i, a := range five.Args {
		if a == "mqttv311" {
			five.Args[i] = "mqttv5"
		}
	}
	if out, _ := five.CombinedOutput(); !strings.Contains(strings.ToLower(string(out)), "not authori") {
		t.Errorf("denied with MQTT 5: %s", out)
	}
	// And who has no certificate of ours does not get in.
	if out, err := exec.Command("mosquitto_pub", "-h", "localhost", "-p", port, "--cafile", filepath.Join(dir, "ca.crt"), "-t", "x", "-m", "x", "-q", "1").CombinedOutput(); err == nil {
		t.Errorf("without a certificate: %s", out)
	}
}
