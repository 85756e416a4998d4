package remediate_test

import (
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/remediate"
	"holdfast/remediate/forest"
)

func TestTheStarterSetCompiles(t *testing.T) {
	for _, f := range starter(t) {
		if err := remediate.Check([]remediate.File{f}); err != nil {
			t.Errorf("%s by itself: %v", f.Name, err)
		}
	}
	if err := remediate.Check(starter(t)); err != nil {
		t.Error(err)
	}
}

func TestTheRulesInTheDocumentCompile(t *testing.T) {
	text, err := os.ReadFile("../docs/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, _ := strings.Cut(string(text), "```\n@name")
	rules, _, found := strings.Cut(rules, "```")
	if err := remediate.Check([]remediate.File{{Name: "alerts.md", Text: "@name" + rules}}); err != nil || !found {
		t.Errorf("%v in %q", err, rules)
	}
	for _, file := range starter(t) {
		for _, m := range regexp.MustCompile(`@name\('([a-z-]+)'\) @severity`).FindAllStringSubmatch(file.Text, -1) {
			if !strings.Contains(string(text), "`"+m[1]+"`") {
				t.Errorf("docs/alerts.md does not have %s of %s", m[1], file.Name)
			}
		}
	}
}

func TestTheStarterModelIsAdmittedAndItsClassesAreInTheCatalogueOfFaults(t *testing.T) {
	text, err := os.ReadFile("../packaging/models/starter.hfm")
	if err != nil {
		t.Fatal(err)
	}
	if err := newRig(t).Model(text, nil); err != nil {
		t.Error(err)
	}
	m, err := forest.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := os.ReadFile("../packaging/models/metrics")
	if err != nil || !slices.Equal(m.Metrics, strings.Fields(string(metrics))) {
		t.Errorf("its metrics are %v, which packaging/models/metrics does not have: %v", m.Metrics, err)
	}
	catalogue, err := os.ReadFile("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, class := range m.Classes {
		if i != m.Normal && !strings.Contains(string(catalogue), "\n| `"+class+"` |") {
			t.Errorf("docs/faults.md does not have %s", class)
		}
	}
}

// A machine is what a board's sources say, round by round.
type machine struct {
	noise                            *rand.Rand
	cpu, memory, disk, hot, probe    float64
	carrier, synchronised, answering bool
	unit, verdict                    string // the unit's state, and where the way to the cloud ends
	restarts, since                  int
	stuck                            string
	cooling                          float64
}

func wellMachine() *machine {
	return &machine{noise: rand.New(rand.NewPCG(1, 2)), cpu: 0.2, memory: 0.4, disk: 0.6, hot: 45, probe: 20, carrier: true, synchronised: true,
		answering: true, unit: "active/running", since: 5000, verdict: "ok"}
}

const gigabyte = 1e9

// round is all samples of one moment, with some noise.
func (m *machine) round(uptime time.Duration) []collectors.Sample {
	near := func(v, by float64) float64 { return v + by*(m.noise.Float64()-0.5) }
	memory := near(m.memory, 0.02)
	all := []collectors.Sample{
		sample("cpu", "", "busy_ratio", near(m.cpu, 0.05), "iowait_ratio", 0.01),
		sample("memory", "", "total_bytes", gigabyte, "available_bytes", gigabyte*(1-memory), "used_ratio", memory),
		sample("uptime", "", "uptime_seconds", uptime.Seconds()),
		sample("disk", "/", "total_bytes", 10*gigabyte, "free_bytes", 10*gigabyte*(1-m.disk)+near(0, 1e6), "used_ratio", m.disk, "mounted", true),
		sample("disk", "/boot", "total_bytes", gigabyte, "free_bytes", 0.3*gigabyte, "used_ratio", 0.7, "mounted", true),
		sample("network", "eth0", "rx_bytes_per_second", near(1000, 1000), "tx_bytes_per_second", 10, "carrier", m.carrier),
		sample("network", "wlan0", "rx_bytes_per_second", near(1000, 1000), "tx_bytes_per_second", 10, "carrier", true),
		sample("temperature", "cpu-thermal", "temperature_celsius", near(m.hot, 2)),
		sample("temperature", "gpu-thermal", "temperature_celsius", near(45, 2)),
		sample("clock", "", "synchronised", m.synchronised, "offset_seconds", near(0, 0.001)),
		sample("units", "pump.service", "active", strings.HasPrefix(m.unit, "active"), "state", m.unit, "restarts_count", m.restarts, "since_seconds", m.since),
		sample("units", "ssh.service", "active", true, "state", "active/running", "restarts_count", 1, "since_seconds", uptime.Seconds()),
		sample("w1", "28-aa", "temperature_celsius", near(20, 1)),
		sample("cooling", "pwm-fan", "state_ratio", 0.5),
		sample("cooling", "thermal-cpufreq-0", "state_ratio", m.cooling),
	}
	if m.stuck != "" {
		all[len(all)-3] = sample("w1", "28-aa", "fault", m.stuck)
	}
	loss := 0.0
	if m.verdict == "gateway" {
		loss = 1
	}
	reached := m.verdict == "ok" || m.verdict == "dns"
	all = append(all, sample("probe", "", "verdict", m.verdict, "carrier", m.verdict != "link", "gateway_loss_ratio", loss, "gateway_seconds", near(0.001, 0.001),
		"dns_ok", m.verdict == "ok", "dns_seconds", near(0.02, 0.01), "broker_ok", reached, "broker_seconds", near(0.05, 0.01)))
	if m.answering {
		all = append(all, sample("w1", "28-bb", "temperature_celsius", near(m.probe, 1)))
	} else {
		all = append(all, sample("w1", "28-bb", "fault", "gone"))
	}
	return all
}

// live has a machine live for some time, from a moment of its episode on, a round every ten seconds.
func (m *machine) live(r *rig, from, to time.Duration, change func(m *machine, at time.Duration)) {
	for at := from; at < to; at += 10 * time.Second {
		r.wait(10 * time.Second)
		m.since += 10
		if change != nil {
			change(m, at)
		}
		r.take(m.round(100*time.Hour + r.now.Sub(noon))...)
	}
}

// every says whether at is one of the moments that a period apart, for rounds of ten seconds.
func every(at, period time.Duration) bool { return at%period < 10*time.Second }

func TestEachRuleOfTheStarterSetRaisesOnceAnEpisodeRemindsAndClears(t *testing.T) {
	for _, tt := range []struct {
		rule, key string
		episode   func(m *machine, at time.Duration)
		lasts     time.Duration // the episode; six hours of a machine that is well follow
		reminds   int
	}{
		{rule: "cpu-busy", episode: func(m *machine, _ time.Duration) { m.cpu = 0.97 }, lasts: 13 * time.Hour, reminds: 2},
		{rule: "memory-short", episode: func(m *machine, _ time.Duration) { m.memory = 0.95 }, lasts: 7 * time.Hour, reminds: 1},
		{rule: "memory-leak", episode: func(m *machine, at time.Duration) { m.memory = 0.4 + 0.012*at.Hours() }, lasts: 20 * time.Hour, reminds: 1},
		{rule: "disk-full", key: "/", episode: func(m *machine, _ time.Duration) { m.disk = 0.97 }, lasts: 7 * time.Hour, reminds: 1},
		{rule: "disk-filling", key: "/", episode: func(m *machine, at time.Duration) { m.disk = 0.6 + 0.02*at.Hours() }, lasts: 8 * time.Hour, reminds: 1},
		{rule: "no-gateway", episode: func(m *machine, _ time.Duration) { m.verdict = "gateway" }, lasts: 7 * time.Hour, reminds: 1},
		{rule: "dns-fails", episode: func(m *machine, _ time.Duration) { m.verdict = "dns" }, lasts: 7 * time.Hour, reminds: 1},
		{rule: "upstream-down", episode: func(m *machine, _ time.Duration) { m.verdict = "upstream" }, lasts: 7 * time.Hour, reminds: 1},
		{rule: "hot", key: "cpu-thermal", episode: func(m *machine, _ time.Duration) { m.hot = 85 }, lasts: 7 * time.Hour, reminds: 1},
		{rule: "carrier-flapping", key: "eth0", episode: func(m *machine, at time.Duration) { m.carrier = every(at, 30*time.Second) }, lasts: time.Hour},
		{rule: "sensor-silent", key: "w1 28-bb", episode: func(m *machine, _ time.Duration) { m.answering = false }, lasts: 25 * time.Hour, reminds: 1},
		{rule: "sensor-stuck", key: "w1 28-aa", episode: func(m *machine, _ time.Duration) { m.stuck = "stuck" }, lasts: 9 * time.Minute},
		{rule: "throttled", key: "thermal-cpufreq-0", episode: func(m *machine, _ time.Duration) { m.cooling = 0.25 }, lasts: 7 * time.Hour, reminds: 1},
		{rule: "crash-loop", key: "pump.service", lasts: 7 * time.Hour, reminds: 1, episode: func(m *machine, at time.Duration) {
			if every(at, time.Minute) {
				m.restarts, m.since = m.restarts+1, 0
			}
		}},
		{rule: "unit-failed", key: "pump.service", episode: func(m *machine, _ time.Duration) { m.unit = "failed/failed" }, lasts: time.Hour},
		{rule: "clock-not-set", episode: func(m *machine, _ time.Duration) { m.synchronised = false }, lasts: 2 * time.Hour},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			r := newRig(t, starter(t)...)
			r.Link(true, 0, "")
			m := wellMachine()
			m.live(r, 0, time.Hour, nil)
			r.want("before")
			well := *m
			m.live(r, 0, tt.lasts, func(m *machine, at time.Duration) {
				tt.episode(m, at)
				r.trusted = m.synchronised
			})
			restarts := m.restarts
			*m = well
			m.restarts, m.since, r.trusted = restarts, 0, true
			during := r.alerts()
			m.live(r, 0, 6*time.Hour, nil)
			got := append(during, r.alerts()...)
			name := strings.TrimSpace(tt.rule + " " + tt.key)
			want := []string{"raised " + name}
			for range tt.reminds {
				want = append(want, "reminded "+name)
			}
			if want = append(want, "cleared "+name); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if open := r.Standing(); len(open.Open) != 0 || open.Overflows != 0 {
				t.Errorf("at the end: %+v", open)
			}
		})
	}
}

// That a unit ends at once is over soon after it does not any more; that it did so is told for ten minutes.
func TestAUnitEndsAsSoonAsItIsStarted(t *testing.T) {
	r := newRig(t, starter(t)...)
	r.Link(true, 0, "")
	m := wellMachine()
	m.live(r, 0, time.Hour, nil)
	r.want("before")
	m.live(r, 0, 40*time.Second, func(m *machine, _ time.Duration) { m.restarts, m.since = m.restarts+1, 0 })
	r.want("during", "raised crash-loop pump.service", "raised unit-cycles pump.service")
	m.live(r, 0, 2*time.Minute, nil)
	r.want("soon after", "cleared unit-cycles pump.service")
	m.live(r, 0, 20*time.Minute, nil)
	r.want("after", "cleared crash-loop pump.service")
}

func TestTheConnectionToTheCloudFlaps(t *testing.T) {
	r := newRig(t, starter(t)...)
	for range 10 {
		r.wait(2 * time.Minute)
		r.Link(false, 0, "reset")
		r.wait(time.Second)
		r.Link(true, time.Second, "")
	}
	r.want("during", "raised cloud-flapping")
	r.wait(90 * time.Minute)
	r.want("after", "cleared cloud-flapping")
}

// Two days of a machine that is well: its load goes up and down with the day, it is restarted in order, a package is
// installed, a cable is pulled once.
func TestAMachineThatIsWellRaisesNothing(t *testing.T) {
	r := newRig(t, starter(t)...)
	r.Link(true, 0, "")
	m := wellMachine()
	m.live(r, 0, 48*time.Hour, func(m *machine, at time.Duration) {
		hour := at % (24 * time.Hour)
		m.cpu, m.hot, m.memory = 0.2, 45, 0.4
		if hour > 8*time.Hour && hour < 17*time.Hour {
			m.cpu, m.hot, m.memory = 0.75, 65, 0.6
		}
		if hour%time.Hour < 4*time.Minute { // a task of each hour
			m.cpu = 1
		}
		m.disk = 0.6 + 0.01*float64(at/(24*time.Hour)) // logs
		m.carrier = hour < 3*time.Hour || hour > 3*time.Hour+5*time.Minute
		m.verdict = "ok"
		switch {
		case !m.carrier:
			m.verdict = "link"
		case every(at, time.Hour): // one datagram is lost
			m.verdict = "dns"
		case every(at, 7*time.Hour+20*time.Second): // the gateway is busy
			m.verdict = "gateway"
		case every(at, 11*time.Hour+10*time.Second): // the broker is restarted
			m.verdict = "upstream"
		}
		m.answering = hour < 5*time.Hour || hour > 5*time.Hour+3*time.Minute
		if hour == 6*time.Hour {
			m.restarts, m.since = m.restarts+1, 0
		}
	})
	r.want("two days")
	if s := r.Standing(); s.Overflows != 0 {
		t.Errorf("standing = %+v", s)
	}
}
