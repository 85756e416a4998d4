package probe_test

import (
	"fmt"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/probe"
)

// counted is a day of a machine with a period of ten seconds: how often names and broker were asked.
func counted(t testing.TB, o probe.Options, own map[string]string, rounds int, answer func([]byte) [][]byte) (asked, taken int64) {
	t.Helper()
	port, queries := names(t, answer)
	broker, connections := serve(t, nil)
	o.Port = port
	if o.Brokers == nil {
		o.Brokers = []probe.Target{{Host: "127.0.0.1", Port: broker}}
	}
	o.Name = "example.com"
	r := newRig(t, o, own)
	for range rounds {
		r.round(10 * time.Second)
	}
	return queries.Load(), connections.Load()
}

func TestWhatIsAskedWhileAllIsWell(t *testing.T) {
	yes, no := true, false
	linked := func() bool { return true }
	modem := map[string]string{"sys/class/net/eth0/uevent": "DEVTYPE=wwan\nINTERFACE=eth0\n"}
	for _, tt := range []struct {
		name          string
		o             probe.Options
		own           map[string]string
		names, broker [2]int64 // at least and at most, in an hour
	}{
		{"a line", probe.Options{}, nil, [2]int64{100, 150}, [2]int64{50, 72}},
		{"a line, connected", probe.Options{Linked: linked}, nil, [2]int64{100, 150}, [2]int64{10, 16}},
		{"metered", probe.Options{Metered: &yes}, nil, [2]int64{5, 8}, [2]int64{5, 8}},
		{"metered, connected", probe.Options{Metered: &yes, Linked: linked}, nil, [2]int64{5, 8}, [2]int64{0, 0}},
		{"a modem", probe.Options{}, modem, [2]int64{5, 8}, [2]int64{5, 8}},
		{"a modem that costs nothing", probe.Options{Metered: &no}, modem, [2]int64{100, 150}, [2]int64{50, 72}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked, taken := counted(t, tt.o, tt.own, 360, here)
			t.Logf("%d questions for names and %d connections in an hour", asked, taken)
			if asked < tt.names[0] || asked > tt.names[1] || taken < tt.broker[0] || taken > tt.broker[1] {
				t.Errorf("want %d and %d", tt.names, tt.broker)
			}
		})
	}
}

// A broker is connected to less often by who is connected to it, at a short period.
func TestAShortPeriodDoesNotAskMoreOfTheBroker(t *testing.T) {
	port, _ := names(t, here)
	broker, taken := serve(t, nil)
	r := newRig(t, probe.Options{Port: port, Brokers: []probe.Target{{Host: "127.0.0.1", Port: broker}}, Linked: func() bool { return true }}, nil)
	for range 600 {
		r.round(time.Second)
	}
	if n := taken.Load(); n < 2 || n > 4 {
		t.Errorf("%d connections in ten minutes", n)
	}
}

// What fails is asked again in each round, but not for ever: a broker that comes back is not run over by a fleet.
func TestWhatFailsIsAskedInEachRoundForAWhile(t *testing.T) {
	refuse := func(q []byte) [][]byte { return [][]byte{reply(q, 0x8182)} }
	early, _ := counted(t, probe.Options{}, nil, 7, refuse)
	long, connections := counted(t, probe.Options{}, nil, 360, refuse)
	t.Logf("%d questions in 7 rounds, %d in an hour, %d connections", early, long, connections)
	if early < 6 || long > 160 || connections > 80 {
		t.Errorf("want at least 6, and at most 160 and 80")
	}
	yes := true
	if n, _ := counted(t, probe.Options{Metered: &yes}, nil, 360, refuse); n < 40 || n > 75 {
		t.Errorf("metered: %d questions in an hour, want one a minute", n)
	}
}

// What is wrong on this side of the gateway, or is mended there, is news: all is asked again in each round.
func TestALinkThatComesOrGoesIsNews(t *testing.T) {
	port, asked := names(t, func(q []byte) [][]byte { return [][]byte{reply(q, 0x8182)} })
	r := newRig(t, probe.Options{Port: port}, nil)
	for range 30 {
		r.round(10 * time.Second)
	}
	for _, carrier := range []string{"0\n", "1\n"} {
		r.write("sys/class/net/eth0/carrier", carrier)
		before := asked.Load()
		for range 6 {
			r.round(10 * time.Second)
		}
		if n := asked.Load() - before; n != 6 {
			t.Errorf("%d questions in 6 rounds after the carrier is %q", n, carrier)
		}
	}
}

// Two that start together part: what is asked has a random pause.
func TestAFleetDoesNotAskInStep(t *testing.T) {
	seen := map[string]bool{}
	for range 8 {
		port, asked := names(t, here)
		r := newRig(t, probe.Options{Port: port}, nil)
		when := ""
		for i := range 60 {
			before := asked.Load()
			if r.round(10 * time.Second); asked.Load() > before {
				when += fmt.Sprint(i, " ")
			}
		}
		seen[when] = true
	}
	if len(seen) < 6 {
		t.Errorf("eight asked at %d different times", len(seen))
	}
}

// What a question is on the wire, in bytes with IP, there and back: an echo of 16 bytes, a query for a name of 18 bytes and
// its answer of one address, and a connection of TCP with its end: SYN and SYN-ACK of 60, and four of 52.
const (
	echoBytes    = 2 * (20 + 16)
	nameBytes    = 2*(20+8+36) + 16
	connectBytes = 2*60 + 4*52
)

func BenchmarkRound(b *testing.B) {
	yes := true
	for _, tt := range []struct {
		name string
		o    probe.Options
		echo float64 // in a round
	}{
		{"line", probe.Options{Linked: func() bool { return true }}, 2},
		{"metered", probe.Options{Linked: func() bool { return true }, Metered: &yes}, 2. / 60},
	} {
		b.Run(tt.name, func(b *testing.B) {
			port, queries := names(b, here)
			broker, taken := serve(b, nil)
			tt.o.Port, tt.o.Name = port, "broker.example.com"
			tt.o.Brokers = []probe.Target{{Host: "127.0.0.1", Port: broker}}
			r := newRig(b, tt.o, nil)
			b.ReportAllocs()
			for b.Loop() {
				r.leap += 10 * time.Second
				if err := r.Collect(b.Context(), func(collectors.Sample) {}); err != nil {
					b.Fatal(err)
				}
			}
			day := 8640 / float64(b.N)
			b.ReportMetric(tt.echo*8640*echoBytes, "gateway-B/day")
			b.ReportMetric(day*float64(queries.Load()*nameBytes+taken.Load()*connectBytes), "beyond-B/day")
		})
	}
}
