package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"holdfast/agent/spool"
	"holdfast/board/linux"
)

// offlineAgent is one that never reaches its broker.
type offlineAgent struct {
	*process
	state string
}

func startOffline(w *workshop, o options) (*offlineAgent, error) {
	port, err := freePort() // nobody listens there
	if err != nil {
		return nil, err
	}
	a := &offlineAgent{state: w.path("offline")}
	// The default hold-off, or less so that a shortened run still sees several batches.
	hold := min(time.Minute, o.idle/4)
	conf, err := w.write("offline.toml", fmt.Sprintf("id = \"offline\"\nstate_dir = %q\nrun_dir = %q\n[broker]\nurls = [\"mqtt://127.0.0.1:%s\"]\n"+
		"[spool]\nhold_off = %q\n", a.state, a.state, port, hold))
	if err != nil {
		return nil, err
	}
	a.process, err = w.start("offline", exec.Command(o.agent, "run", "--config", conf))
	return a, err
}

// tell stops the agent, which puts the rest on flash, and compares what is there with what it was for. Nothing was
// delivered, so nothing was removed: the files are append-only, and their sizes are what was given to the file system.
func (a *offlineAgent) tell(w *workshop, t *table) error {
	if err := a.stop(); err != nil {
		return err
	}
	dir := filepath.Join(a.state, "spool")
	var given int64
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			return err
		}
		given += info.Size()
	}
	records, err := readSpool(w, dir)
	if err != nil {
		return err
	}
	var payload int64
	for _, r := range records {
		payload += int64(len(r.Payload))
	}
	if payload == 0 {
		return fmt.Errorf("offline: nothing was spooled: %s", w.words("offline"))
	}
	t.atMost("spool_ratio", "offline: bytes given to the file system by payload byte", round(float64(given)/float64(payload), 4), spoolRatio)
	t.note("offline: a second agent beside it, with a broker that refuses, put %d records of %d bytes into %d bytes of spool", len(records), payload, given)
	return nil
}

// readSpool returns every record that a start would find in dir. It works on a copy.
func readSpool(w *workshop, dir string) ([]spool.Record, error) {
	twin, err := os.MkdirTemp(w.dir, "spool-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(twin)
	if err := os.CopyFS(filepath.Join(twin, "spool"), os.DirFS(dir)); err != nil {
		return nil, err
	}
	files, err := linux.NewDir(filepath.Join(twin, "spool"))
	if err != nil {
		return nil, err
	}
	s, _, err := spool.Open(files, spool.Options{LimitBytes: 1 << 30})
	if err != nil {
		return nil, err
	}
	defer s.Close(time.Now())
	if degraded := s.Stats().Degraded; degraded != "" {
		return nil, fmt.Errorf("spool: %s", degraded)
	}
	var out []spool.Record
	for {
		entries, err := s.Next(64)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			return out, nil
		}
		for _, e := range entries {
			out = append(out, e.Record)
			s.Done(e.ID)
		}
	}
}

// activate starts the warden as systemd does, with the listening socket as descriptor 3 (sd_listen_fds(3)), and sees it
// leave by itself when nobody asks.
func activate(w *workshop, o options, t *table) error {
	state := w.path("activated")
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	conf, err := w.write("warden.toml", fmt.Sprintf("id = \"bench\"\nstate_dir = %q\nrun_dir = %q\n[warden]\nidle = \"1s\"\n", state, state))
	if err != nil {
		return err
	}
	socket, err := listenUnix(filepath.Join(state, "warden.sock"))
	if err != nil {
		return err
	}
	defer socket.Close()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" warden --config "$1"`, o.agent, conf)
	cmd.ExtraFiles = []*os.File{socket}
	p, err := w.start("warden", cmd)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := w.until("the warden to leave", 15*time.Second, p.gone); err != nil {
		return err
	}
	if code := p.ProcessState.ExitCode(); code != 0 || !strings.Contains(w.words("warden"), "activated") {
		return fmt.Errorf("exit status %d: %s", code, w.words("warden"))
	}
	t.note("warden: started with the socket as descriptor 3 and idle = 1s, it left by itself with status 0 after %.1f s; idle it is no process", time.Since(began).Seconds())
	return nil
}
