package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

const supported = true

// leakSignal has the leaking program begin.
const leakSignal = syscall.SIGUSR1

// grab takes memory from the kernel and writes to each page: one that nobody wrote to is not taken. It is not Go's to give back.
func grab(size int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("take %d bytes: %w", size, err)
	}
	for i := 0; i < size; i += os.Getpagesize() {
		b[i] = 1
	}
	return b, nil
}

// drop gives back what grab took.
func drop(b []byte) error {
	if b == nil {
		return nil
	}
	return syscall.Munmap(b)
}

// boot starts an agent in this process: of the real machine, but for its lines. It may do nothing to the machine.
func boot(s settings) (*device, error) {
	c := config.Default()
	c.ID = deviceID
	// The warden's part keeps its files beside the state directory.
	c.StateDir, c.RunDir = filepath.Join(s.dir, "state"), filepath.Join(s.dir, "run")
	c.Broker.URLs = []string{s.broker}
	c.Broker.MinBackoff, c.Broker.MaxBackoff = config.Duration(200*time.Millisecond), config.Duration(time.Second)
	c.Telemetry.Period, c.Telemetry.Linger = config.Duration(firstPeriod), config.Duration(100*time.Millisecond)
	c.Lines = map[string]config.Line{pump: {Driver: "sim", Output: true}, door: {Driver: "sim"}}
	c.Commands.Allow = []string{"ping", "sample", "relay.set"}
	c.Rules.Dir, c.Thresholds.Memory = filepath.Join(s.dir, "rules.d"), 100
	c.Units.Watch, c.Units.Restart = []string{serviceName}, []string{serviceName}
	c.Diagnosis.Model = filepath.Join(s.dir, "leak.hfm")
	c.Repairs.Dir, c.Repairs.Armed, c.Vouched = filepath.Join(s.dir, "playbooks.d"), []string{"mem_leak"}, true
	if err := c.Check(); err != nil {
		return nil, err
	}
	for path, text := range map[string][]byte{filepath.Join(c.Rules.Dir, "memory.epl"): []byte(rules + leakRules),
		filepath.Join(c.Repairs.Dir, "leak.toml"): []byte(leakPlaybook), c.Diagnosis.Model: leakModel} {
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			return nil, err
		}
	}
	r, err := wire.Run(wire.Options{Config: c, Version: s.version, Log: s.log, Level: s.level, Single: true, Started: time.Now(),
		Units: &wire.Units{Groups: s.service.groups, Keeper: s.service}})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	var why error
	go func() {
		defer close(ended)
		why = r.Run(ctx)
	}()
	return &device{
		lines: map[string]line{pump: r.Lines[pump], door: r.Lines[door]},
		link: func(ctx context.Context) (link, error) {
			st, err := r.Status(ctx)
			return link{up: st.Link.Up, why: st.Link.Error, waiting: st.Spool.Waiting}, err
		},
		newest: r.Newest, stop: stop, ended: ended, err: func() error { return why },
	}, nil
}
