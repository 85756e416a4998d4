//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// An event is what the device tells of what it notices, names and does.
type event struct {
	Kind, Phase   string
	Time          time.Time
	Fault, By     string
	Rule          string
	Confidence    float64
	Name, Do      string // of a rung
	Reason, Error string
	Session       string
	Seq           uint64
	Description   string
	Severity      string
	Reasons       []struct{ Measure string }
	Values        map[string]any
	Before, After map[string]float64
	Result        json.RawMessage
	Key           map[string]string
}

// An ear is mosquitto_sub: an independent client that hears the device's events, at QoS 1.
type ear struct {
	mu  sync.Mutex
	all []event
}

func (b *bench) listen(ctx context.Context, id string) (*ear, error) {
	e := &ear{}
	cmd := exec.Command("mosquitto_sub", "-h", brokerAddr, "-i", "ear", "-q", "1", "-t", "holdfast/"+id+"/event", "-t", "bench/ready")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(b.path("events.jsonl"))
	if err != nil {
		return nil, err
	}
	if _, err := b.do(ctx, "mosquitto_pub", "-h", brokerAddr, "-r", "-t", "bench/ready", "-m", "ready"); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b.later(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	ready, open := make(chan struct{}), true
	go func() {
		defer log.Close()
		in := bufio.NewScanner(out)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			if in.Text() == "ready" { // again after each connect
				if open {
					close(ready)
				}
				open = false
				continue
			}
			fmt.Fprintln(log, in.Text())
			var v event
			if json.Unmarshal(in.Bytes(), &v) != nil {
				continue
			}
			e.mu.Lock()
			e.all = append(e.all, v)
			e.mu.Unlock()
		}
	}()
	select {
	case <-ready:
		return e, nil
	case <-time.After(10 * time.Second):
		return nil, errors.New("mosquitto_sub hears nothing")
	}
}

// between returns what happened from a time on and before another, by the device's clock, which is this machine's.
func (e *ear) between(from, to time.Time) (list []event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, v := range e.all {
		if !v.Time.Before(from) && (to.IsZero() || v.Time.Before(to)) {
			list = append(list, v)
		}
	}
	return list
}

// open are the faults that are named and not over.
func (e *ear) open() map[string]bool {
	named := map[string]bool{}
	for _, v := range e.between(time.Time{}, time.Time{}) {
		if v.Kind == "diagnosis" {
			named[v.Fault] = v.Phase == "named"
		}
	}
	for f, on := range named {
		if !on {
			delete(named, f)
		}
	}
	return named
}
