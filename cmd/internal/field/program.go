//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"holdfast/update/updatetest"
)

// crasher is a program that says its version and does nothing else.
const crasher = "#!/bin/sh\n[ \"$1\" = version ] && { echo holdfast 999.0.0; exit; }\nexit 1\n"

// program has the agent's own program updated, then one that ends at once, then content. It plays systemd: an agent that
// ended is started again.
func (r *rig) program() error {
	self, err := os.ReadFile(filepath.Join(r.bin, "holdfast"))
	if err != nil {
		return err
	}
	good := append(bytes.Clone(self), "\nthe second\n"...)
	r.repo = updatetest.New(time.Now().Add(-time.Hour), 7)
	add := func(name, kind string, seq int, file []byte) {
		custom := map[string]any{"seq": seq, "kind": kind, "compatible": []string{"bench"}}
		if kind == "agent" {
			custom["arch"] = runtime.GOARCH
		} else { // content has neither deltas nor a floor
			custom["from"], custom["security_floor"] = nil, nil
		}
		r.repo.Add(updatetest.Release{Name: name, Parts: map[string][]byte{"file": file}, Span: 1 << 20, Custom: custom})
	}
	add("agent/2", "agent", 2, good)
	add("agent/3", "agent", 3, []byte(crasher))
	add("content/1", "content", 1, []byte("rules and models\n"))
	r.repo.Publish(time.Now())
	for name, raw := range r.repo.Files {
		if strings.HasPrefix(name, "payload/") {
			continue
		}
		name = filepath.Join(r.path("repo"), name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, raw, 0o644)); err != nil {
			return err
		}
	}
	if err := r.around(""); err != nil {
		return err
	}
	if err := r.configure(fmt.Sprintf(`agent = "%[1]s/agent"
content = "%[1]s/content"
settle = "1s"
deadline = "20s"
back_off = "1s"
trials = 2
`, r.dir)); err != nil {
		return err
	}
	if err := r.again(); err != nil {
		return err
	}
	defer func() { r.run.kill() }()
	for _, want := range []struct{ job, release, kind, result string }{
		{"job-1", "agent/2", "agent", "committed"}, {"job-2", "agent/3", "agent", "rolled_back"}, {"job-3", "content/1", "content", "committed"},
	} {
		var more []string
		if want.kind == "content" { // once with what is signed in the job itself
			r.requests()
			more = []string{"--metadata", r.path("repo")}
		}
		ended, err := r.supervised(want.job, want.release, want.kind, want.result, more...)
		if err != nil {
			return fmt.Errorf("%w\nrun: %s", err, r.words("run"))
		}
		if (want.kind == "content") == r.askedFor("metadata/timestamp.json") {
			return errors.New("what is signed is fetched when it is not in the job, and only then")
		}
		fmt.Printf("%s: %s; the agent ended %d time(s) by itself, and %s runs\n", want.release, want.result, ended, r.runs())
		if !strings.HasPrefix(r.runs(), r.path("agent")+"/") || (want.result == "rolled_back") != (ended > 0) {
			return errors.New("that is not as it should be")
		}
	}
	if now, err := os.ReadFile(r.path("content/current")); err != nil || string(now) != "rules and models\n" {
		return fmt.Errorf("the content is %q, %v", now, err)
	}
	fmt.Println("field: 3 updates of program and content, 0 wrong")
	return nil
}

func (r *rig) again() (err error) {
	r.run, err = r.start("run", "holdfast", "run", "--single", "--config", r.path("holdfast.toml"))
	return err
}

// runs is the program that runs as the agent.
func (r *rig) runs() string {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", r.run.Process.Pid))
	return exe
}

// supervised has a job done, and the agent started again whenever it ended.
func (r *rig) supervised(job, release, kind, result string, more ...string) (ended int, err error) {
	args := append([]string{"update", "push", "bench", release, "--kind", kind, "--id", job, "--broker", "mqtt://127.0.0.1:" + r.broker}, more...)
	if _, err := r.do(filepath.Join(r.bin, "holdfastctl"), args...); err != nil {
		return 0, err
	}
	asked := time.Now()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); {
		if r.run.gone() {
			ended++
			if err := r.again(); err != nil {
				return ended, err
			}
		}
		if time.Since(asked) > 300*time.Millisecond {
			asked = time.Now()
			past, _ := r.history()
			for _, o := range past {
				if o.Job == job && o.Result != result {
					return ended, fmt.Errorf("%s ended as %+v", release, o)
				} else if o.Job == job {
					return ended, nil
				}
			}
		}
		if err := r.sleep(20 * time.Millisecond); err != nil {
			return ended, err
		}
	}
	return ended, fmt.Errorf("%s did not end within two minutes", release)
}
