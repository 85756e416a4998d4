package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"holdfast/actuators"
	"holdfast/agent/warden"
	"holdfast/board/linux"
)

// Targets of the idle run, for ten minutes.
const (
	rssMiB        = 14
	cpuPerTenMins = 0.1
	diskMBPerDay  = 10
	spoolRatio    = 1.1
)

// settling is how long everything runs before it is measured: start-up is not idling.
const settling = 15 * time.Second

// idle runs everything that is compared for the same time: the agent over mutual TLS with its state on a file system of
// its own, a second one without a link, collectd and node_exporter.
func idle(w *workshop, o options, t *table) error {
	broker, err := newSecureBroker(w, o)
	if err != nil {
		return err
	}
	ear, err := broker.listen(w)
	if err != nil {
		return err
	}
	online, err := startOnline(w, o, broker)
	if err != nil {
		return err
	}
	offline, err := startOffline(w, o)
	if err != nil {
		return err
	}
	others, err := startOthers(w, broker)
	if err != nil {
		return err
	}
	if err := w.until("telemetry over mutual TLS", 20*time.Second, func() bool { return ear.records.Load() > 0 }); err != nil {
		return fmt.Errorf("%w: %s", err, w.words("online"))
	}
	if err := w.sleep(min(settling, o.idle)); err != nil {
		return err
	}
	before, err := online.look(others)
	if err != nil {
		return err
	}
	heard, asked := ear.records.Load(), online.asked.Load()
	if err := w.sleep(o.idle); err != nil {
		return err
	}
	after, err := online.look(others)
	if err != nil {
		return err
	}
	heard = ear.records.Load() - heard
	tellIdle(t, before, after, others)
	t.atLeast("records_heard", "records an independent mosquitto_sub heard meanwhile", float64(heard), float64(int(o.idle/(10*time.Second))-1))
	t.atMost("warden_processes", "wardens running or asked for meanwhile", float64(online.asked.Load()-asked)+float64(after.wardens), 0)
	t.note("idle: `holdfast run` over mutual TLS to mosquitto on loopback, default configuration (all collectors at 10 s, no systemd to ask "+
		"here), for %s after %s of settling; %s", o.idle, min(settling, o.idle), after.machine.since(before.machine))
	t.note("warden: this program held warden.sock as systemd does for a socket-activated service, answered what the agent asks at its start, and would have counted anybody who asked later")
	if err := activate(w, o, t); err != nil {
		return fmt.Errorf("warden: %w", err)
	}
	return offline.tell(w, t)
}

// onlineAgent is the agent that is measured.
type onlineAgent struct {
	*process
	device string
	state  string
	asked  atomic.Int64
}

func startOnline(w *workshop, o options, b *secureBroker) (*onlineAgent, error) {
	a := &onlineAgent{}
	var err error
	if a.device, a.state, err = w.disk("online"); err != nil {
		return nil, err
	}
	if err := os.Mkdir(w.path("run"), 0o755); err != nil {
		return nil, err
	}
	conf, err := w.write("online.toml", fmt.Sprintf("id = \"bench\"\nstate_dir = %q\nrun_dir = %q\n[broker]\nurls = [\"mqtts://localhost:%s\"]\n"+
		"ca_file = %q\ncert_file = %q\nkey_file = %q\n", a.state, w.path("run"), b.port, b.ca, b.cert("devices/bench"), b.key("devices/bench")))
	if err != nil {
		return nil, err
	}
	if err := a.standIn(w); err != nil {
		return nil, err
	}
	a.process, err = w.start("online", exec.Command(o.agent, "run", "--config", conf))
	return a, err
}

// standIn answers at the warden's socket what a warden says of a machine that is in order, and counts who asks.
func (a *onlineAgent) standIn(w *workshop) error {
	var verbs []actuators.Verb
	var names []string
	for _, name := range []string{"boot.began", "boot.lasted", "boot.ended"} {
		names = append(names, name)
		verbs = append(verbs, actuators.Verb{Name: name, Do: func(context.Context, actuators.Args) (actuators.Result, error) {
			a.asked.Add(1)
			return actuators.Result{"safe": false, "unclean": 0, "again_seconds": 3600}, nil
		}})
	}
	set, err := actuators.NewSet(actuators.Options{Allow: names, Clock: &linux.Clock{}}, verbs...)
	if err != nil {
		return err
	}
	socket, err := net.Listen("unix", filepath.Join(w.path("run"), "warden.sock"))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(w.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = warden.NewServer(warden.ServerOptions{Set: set, UIDs: []int{os.Geteuid()}}).Serve(ctx, socket)
	}()
	w.later(func() { stop(); <-ended })
	return nil
}

// sight is what is seen at one moment.
type sight struct {
	agent   usage
	others  []usage
	sectors int64
	wardens int
	machine jiffies
	at      time.Time
}

func (a *onlineAgent) look(others []*other) (sight, error) {
	s := sight{at: time.Now(), machine: processors()}
	var err error
	if s.agent, err = treeOf(a.Process.Pid); err != nil {
		return s, err
	}
	for _, one := range others {
		u, err := treeOf(one.Process.Pid)
		if err != nil {
			return s, fmt.Errorf("%s: %w", one.name, err)
		}
		s.others = append(s.others, u)
	}
	if _, err := do("sync", "-f", a.state); err != nil {
		return s, err
	}
	if s.sectors, err = sectorsWritten(a.device); err != nil {
		return s, err
	}
	s.wardens = wardens(a.state)
	return s, nil
}

// wardens counts the processes that are the warden of this run.
func wardens(dir string) (n int) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		b, _ := os.ReadFile(path)
		if s := string(b); strings.Contains(s, "\x00warden\x00") && strings.Contains(s, filepath.Dir(dir)) {
			n++
		}
	}
	return n
}

const mib = 1 << 20

func tellIdle(t *table, before, after sight, others []*other) {
	span := after.at.Sub(before.at)
	perTen := func(seconds float64) float64 { return round(seconds*(10*time.Minute).Seconds()/span.Seconds(), 3) }
	a := after.agent
	t.atMost("rss_mib", "memory when idle (VmRSS), MiB", round(float64(a.rss)/mib, 2), rssMiB)
	t.beside("  its share (Pss), MiB", number(round(float64(a.pss)/mib, 2)))
	t.beside("  its highest (VmHWM), MiB", number(round(float64(a.peak)/mib, 2)))
	for i, one := range others {
		t.beside("  "+one.name+" (VmRSS; Pss), MiB", fmt.Sprintf("%.2f; %.2f", float64(after.others[i].rss)/mib, float64(after.others[i].pss)/mib))
	}
	t.reference("  telegraf built for the same work", "24 MiB")
	t.reference("  Mender client", "33 MiB")
	t.reference("  node_exporter; collectd", "20 MiB; 4.6 MiB")
	t.atMost("cpu_seconds", "processor time in ten minutes, s", perTen(a.cpuSeconds-before.agent.cpuSeconds), cpuPerTenMins)
	for i, one := range others {
		t.beside("  "+one.name+", s", number(perTen(after.others[i].cpuSeconds-before.others[i].cpuSeconds)))
	}
	t.reference("  collectd; node_exporter; telegraf, s", "0.074; 0.148; 0.164")
	if exporter := after.others[1].cpuSeconds - before.others[1].cpuSeconds; exporter > 0 {
		t.beside("  as a share of node_exporter's in this run (0.68 of its reference is the target)",
			number(round((a.cpuSeconds-before.agent.cpuSeconds)/exporter, 2)))
	}
	perDay := float64(after.sectors-before.sectors) * 512 / 1e6 * (24 * time.Hour).Seconds() / span.Seconds()
	t.atMost("disk_mb_per_day", "written to the block device while online, MB a day", round(perDay, 3), diskMBPerDay)
}
