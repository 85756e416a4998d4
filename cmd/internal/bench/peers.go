package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// A secureBroker is mosquitto that wants a certificate of everybody.
type secureBroker struct{ port, dir, ca string }

// cert and key are where holdfastctl pki puts them; kind is devices, operators or servers.
func (b *secureBroker) cert(name string) string { return filepath.Join(b.dir, name+".crt") }
func (b *secureBroker) key(name string) string  { return filepath.Join(b.dir, name+".key") }

func newSecureBroker(w *workshop, o options) (*secureBroker, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	b := &secureBroker{port: port, dir: w.path("pki"), ca: w.path("pki/ca.crt")}
	for _, args := range [][]string{{"init", b.dir}, {"issue", "--server", "localhost,127.0.0.1", b.dir}, {"issue", "--device", "bench", b.dir},
		{"issue", "--device", "collectd", b.dir}, {"issue", "--operator", "ear", b.dir}} {
		if _, err := do(o.ctl, append([]string{"pki"}, args...)...); err != nil {
			return nil, err
		}
	}
	conf, err := w.write("secure.conf", fmt.Sprintf("user root\nlistener %s 127.0.0.1\nallow_anonymous true\ncafile %s\ncertfile %s\nkeyfile %s\n"+
		"require_certificate true\n", port, b.ca, b.cert("servers/localhost"), b.key("servers/localhost")))
	if err != nil {
		return nil, err
	}
	if _, err := w.start("secure", exec.Command("mosquitto", "-c", conf)); err != nil {
		return nil, err
	}
	if err := w.until("mosquitto", 10*time.Second, func() bool { return reachable(port) }); err != nil {
		return nil, fmt.Errorf("%w: %s", err, w.words("secure"))
	}
	return b, nil
}

// An ear counts the agent's records as they reach an independent subscriber.
type ear struct{ records atomic.Int64 }

func (b *secureBroker) listen(w *workshop) (*ear, error) {
	e := &ear{}
	read, write := io.Pipe()
	cmd := exec.Command("mosquitto_sub", "-h", "localhost", "-p", b.port, "--cafile", b.ca, "--cert", b.cert("operators/ear"), "--key", b.key("operators/ear"),
		"-q", "1", "-t", "holdfast/bench/telemetry", "-F", "%t")
	cmd.Stdout = write
	go func() {
		for lines := bufio.NewScanner(read); lines.Scan(); {
			e.records.Add(1)
		}
	}()
	_, err := w.start("ear", cmd)
	return e, err
}

// An other is a program that is compared with.
type other struct {
	name string
	*process
}

// scrapePeriod is how often node_exporter is asked, as its use implies.
const scrapePeriod = 10 * time.Second

func startOthers(w *workshop, b *secureBroker) ([]*other, error) {
	conf, err := w.write("collectd.conf", collectdConf(w, b))
	if err != nil {
		return nil, err
	}
	collectd, err := w.start("collectd", exec.Command("collectd", "-f", "-C", conf))
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	exporter, err := w.start("node_exporter", exec.Command("prometheus-node-exporter", "--web.listen-address=127.0.0.1:"+port))
	if err != nil {
		return nil, err
	}
	if err := w.until("node_exporter", 10*time.Second, func() bool { return reachable(port) }); err != nil {
		return nil, fmt.Errorf("%w: %s", err, w.words("node_exporter"))
	}
	go scrape(w, "http://127.0.0.1:"+port+"/metrics")
	if collectd.gone() {
		return nil, fmt.Errorf("collectd ended: %s", w.words("collectd"))
	}
	return []*other{{"collectd from Debian, to the same broker", collectd}, {"node_exporter from Debian, asked every 10 s", exporter}}, nil
}

func scrape(w *workshop, url string) {
	for w.sleep(scrapePeriod) == nil {
		r, err := http.Get(url)
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
}

// collectdConf has it read what the agent reads, as far as it can, and send it over mutual TLS to the same broker.
func collectdConf(w *workshop, b *secureBroker) string {
	var s strings.Builder
	fmt.Fprintf(&s, "Hostname \"bench\"\nFQDNLookup false\nBaseDir %q\nPIDFile %q\nInterval 10\n", w.path("collectd"), w.path("collectd.pid"))
	for _, plugin := range []string{"cpu", "load", "memory", "swap", "df", "disk", "interface", "thermal", "processes", "fhcount", "uptime", "entropy", "mqtt"} {
		fmt.Fprintf(&s, "LoadPlugin %s\n", plugin)
	}
	fmt.Fprintf(&s, "<Plugin df>\nMountPoint \"/\"\n</Plugin>\n<Plugin mqtt>\n<Publish \"broker\">\nHost \"localhost\"\nPort \"%s\"\n"+
		"ClientId \"collectd\"\nCACert %q\nCertificateFile %q\nCertificateKeyFile %q\nQoS 1\n</Publish>\n</Plugin>\n",
		b.port, b.ca, b.cert("devices/collectd"), b.key("devices/collectd"))
	return s.String()
}
