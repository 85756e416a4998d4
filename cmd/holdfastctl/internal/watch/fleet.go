// Package watch keeps what is known of a fleet and draws it: a row for each device and the latest events below.
package watch

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"holdfast/cmd/holdfastctl/internal/ledger"
	"holdfast/cmd/holdfastctl/internal/message"
)

// Bounds of what is remembered.
const (
	maxDevices = 10_000
	maxEvents  = 200
	alertsFor  = time.Hour // an alert counts in its device's row this long
	maxAlerts  = 99        // that are counted
)

// A Fleet has one owner. It asks no clock.
type Fleet struct {
	devices map[string]*device
	events  []Entry
	ledger  *ledger.Ledger
}

type device struct {
	id       string
	status   *message.Status
	seen     time.Time // when its last live message came
	measures measures
	alerts   []time.Time
	lag      time.Duration // from a sample to us, where the device's clock is trusted; negative: not known
}

// measures are the newest of each kind; a negative number is not known.
type measures struct {
	cpu, memory, disk, temperature, network float64
	disks, zones, nics                      map[string]float64
}

// An Entry is one line of the list of events.
type Entry struct {
	Time   time.Time
	Device string
	Kind   string // "alert", "online", "offline", ...
	Text   string
}

// NewFleet returns one without devices.
func NewFleet() *Fleet {
	return &Fleet{devices: map[string]*device{}, ledger: ledger.New(0)}
}

// kinds are the topics below a device's. Something else there is not a device's sign of life.
var kinds = []string{"status", "telemetry", "event", "shadow/desired", "shadow/reported", "command", "command/result", "job", "job/status"}

// Take enters a message that came at now. It returns the entry for the list of events, if there is one: fresh is false
// for duplicates and for what says nothing new.
func (f *Fleet) Take(topic string, payload []byte, retained bool, now time.Time) (e Entry, fresh bool) {
	id, kind, ok := message.Split(topic)
	if !ok || !slices.Contains(kinds, kind) {
		return e, false
	}
	d := f.devices[id]
	if d == nil {
		if len(f.devices) >= maxDevices {
			return e, false
		}
		d = &device{id: id, lag: -1, measures: measures{cpu: -1, memory: -1, disk: -1, temperature: unknown, network: -1,
			disks: map[string]float64{}, zones: map[string]float64{}, nics: map[string]float64{}}}
		f.devices[id] = d
	}
	if !retained && kind != "shadow/desired" && kind != "command" && kind != "job" { // those are the operator's words
		d.seen = now
	}
	if again, err := message.Count(f.ledger, id, kind, payload); err == nil && !again {
		return e, false
	}
	e = Entry{Time: now, Device: id}
	switch kind {
	case "status":
		fresh = d.setStatus(payload, retained, &e)
	case "telemetry":
		d.telemetry(payload, now)
	case "event":
		fresh = d.event(payload, now, &e)
	case "shadow/reported":
		d.reported(payload)
	case "job/status":
		fresh = progress(payload, &e) && !retained
	}
	if fresh {
		if f.events = append(f.events, e); len(f.events) > maxEvents {
			f.events = slices.Delete(f.events, 0, len(f.events)-maxEvents)
		}
	}
	return e, fresh
}

const unknown = -1000 // °C

func (d *device) setStatus(payload []byte, retained bool, e *Entry) (fresh bool) {
	var is struct {
		Online *bool `json:"online"`
	}
	var s message.Status
	if message.Decode(payload, &is) != nil || is.Online == nil || message.Decode(payload, &s) != nil {
		return false
	}
	changed := d.status == nil || d.status.Online != s.Online || !d.status.Since.Equal(s.Since)
	d.status = &s
	e.Kind = "offline"
	if s.Online {
		e.Kind, e.Text = "online", message.Clean(s.Agent, 40)
	}
	if s.Reason != "" {
		e.Text = strings.TrimSpace(e.Text + " " + message.Clean(s.Reason, 80))
	}
	return changed && !retained
}

func (d *device) telemetry(payload []byte, now time.Time) {
	var t message.Telemetry
	if message.Decode(payload, &t) != nil {
		return
	}
	m := &d.measures
	for i := range t.Samples {
		s := &t.Samples[i]
		if s.Trusted && i == len(t.Samples)-1 {
			d.lag = max(0, now.Sub(s.Time))
		}
		switch s.Source {
		case "cpu":
			if v, ok := s.Number("busy_ratio"); ok && s.Instance == "" {
				m.cpu = v
			}
		case "memory":
			if v, ok := s.Number("used_ratio"); ok {
				m.memory = v
			}
		case "disk":
			m.disk = worst(m.disks, s, -1, "used_ratio")
		case "temperature":
			m.temperature = worst(m.zones, s, unknown, "temperature_celsius")
		case "network":
			m.network = sum(m.nics, s)
		}
	}
}

const maxInstances = 64 // disks, zones, interfaces of one device

func worst(of map[string]float64, s *message.Sample, top float64, field string) float64 {
	if v, ok := s.Number(field); ok && (len(of) < maxInstances || has(of, s.Instance)) {
		of[s.Instance] = v
	}
	for _, v := range of {
		top = max(top, v)
	}
	return top
}

func sum(of map[string]float64, s *message.Sample) float64 {
	rx, okRx := s.Number("rx_bytes_per_second")
	tx, okTx := s.Number("tx_bytes_per_second")
	if (okRx || okTx) && s.Instance != "lo" && (len(of) < maxInstances || has(of, s.Instance)) {
		of[s.Instance] = rx + tx
	}
	if len(of) == 0 {
		return -1
	}
	total := 0.0
	for _, v := range of {
		total += v
	}
	return total
}

func has(of map[string]float64, k string) bool { _, ok := of[k]; return ok }

// reported fills in what telemetry has not said yet: the shadow repeats processor and memory in percent.
func (d *device) reported(payload []byte) {
	var r struct {
		State map[string]any `json:"state"`
	}
	if message.Decode(payload, &r) != nil {
		return
	}
	if v, ok := r.State["cpu"].(float64); ok && d.measures.cpu < 0 {
		d.measures.cpu = v / 100
	}
	if v, ok := r.State["memory"].(float64); ok && d.measures.memory < 0 {
		d.measures.memory = v / 100
	}
}

func (d *device) event(payload []byte, now time.Time, e *Entry) bool {
	ev, err := message.ParseEvent(payload)
	if err != nil || ev.Kind == "" {
		return false
	}
	e.Kind = message.Clean(ev.Kind, 20)
	if ev.Kind == "alert" {
		d.alerts = append(d.alerts, now)
		if len(d.alerts) > maxAlerts {
			d.alerts = slices.Delete(d.alerts, 0, 1)
		}
	}
	e.Text = summary(ev.Body)
	return true
}

// summary is the body's members as key=value, those that say most first, without the head.
func summary(body map[string]any) string {
	rank := map[string]int{"name": -9, "rule": -8, "severity": -7, "message": -6, "phase": -5, "ok": -4, "error": -3}
	keys := slices.DeleteFunc(slices.Collect(maps.Keys(body)), func(k string) bool {
		return slices.Contains([]string{"session", "seq", "kind", "time", "trusted"}, k) || body[k] == nil || body[k] == ""
	})
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(a, b)) })
	var parts []string
	for _, k := range keys {
		text, ok := body[k].(string)
		if !ok {
			b, _ := json.Marshal(body[k]) // it came from JSON
			text = string(b)
		}
		parts = append(parts, message.Clean(k, 30)+"="+message.Clean(text, 60))
	}
	return message.Clean(strings.Join(parts, " "), 200)
}

func progress(payload []byte, e *Entry) bool {
	var p struct {
		ID      string   `json:"id"`
		Phase   string   `json:"phase"`
		Percent *float64 `json:"percent"`
		Error   string   `json:"error"`
	}
	if message.Decode(payload, &p) != nil || p.ID == "" {
		return false
	}
	e.Kind = "update"
	e.Text = message.Clean(p.ID, 40) + " " + message.Clean(p.Phase, 30)
	if p.Percent != nil {
		e.Text += fmt.Sprintf(" %.0f %%", *p.Percent)
	}
	if p.Error != "" {
		e.Text += ": " + message.Clean(p.Error, 80)
	}
	return true
}
