package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// judgingMiB is what rules, a model and playbooks may take on top of an agent without any, in MiB.
const judgingMiB = 2

// judgingFor is how long the two agents run before they are looked at: what the start has taken is given back each minute.
const judgingFor = 100 * time.Second

// diagnosis measures a verdict of a forest of 40 trees, and what an agent takes that judges by all that comes with the package.
func diagnosis(w *workshop, o options, t *table) error {
	cmd := exec.CommandContext(w.ctx, o.forest, "-test.run", "^$", "-test.bench", "Of40Trees", "-test.benchmem", "-test.count", ruleRuns)
	cmd.Dir = "remediate/forest/foreign" // where its testdata is
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.2000s", o.forest, err, out)
	}
	best := measured(string(out))
	verdict, ok := best["VerdictOf40Trees cpu-ns/op"]
	if !ok {
		return fmt.Errorf("%s says nothing of a verdict", o.forest)
	}
	t.atMost("verdict_ns", "verdict of 40 trees of depth 10, ns", round(verdict, 0), 1000)
	t.atMost("verdict_allocs", "allocations of a verdict and its reasons", best["VerdictOf40Trees allocs/op"]+best["ReasonsOf40Trees allocs/op"], 0)
	t.reference("the three reasons, once a diagnosis, ns", fmt.Sprintf("%.0f", best["ReasonsOf40Trees cpu-ns/op"]))
	root, err := filepath.Abs("packaging")
	if err != nil {
		return err
	}
	plain, err := w.judging(o, "plain", "[rules]\ndir = \"\"\n[repairs]\ndir = \"\"\n")
	if err != nil {
		return err
	}
	all, err := w.judging(o, "judging", fmt.Sprintf("[rules]\ndir = %q\n[repairs]\ndir = %q\n[diagnosis]\nmodel = %q\n", filepath.Join(root, "rules.d"),
		filepath.Join(root, "playbooks.d"), filepath.Join(root, "models", "starter.hfm")))
	if err != nil {
		return err
	}
	if err := w.sleep(judgingFor); err != nil {
		return err
	}
	without, err := treeOf(plain.Process.Pid)
	if err != nil {
		return fmt.Errorf("%w: %s", err, w.words("plain"))
	}
	with, err := treeOf(all.Process.Pid)
	if err != nil {
		return fmt.Errorf("%w: %s", err, w.words("judging"))
	}
	t.atMost("judging_mib", "resident memory of starter rules, model and playbooks, MiB", round(float64(with.rss-without.rss)/(1<<20), 2), judgingMiB)
	t.reference("the agent without any, MiB", fmt.Sprintf("%.2f", float64(without.rss)/(1<<20)))
	scale := float64(10*time.Minute) / float64(judgingFor)
	t.note("judging: two agents for %v, sources at 10 s, those of the model at 1 s: %.2f and %.2f s of processor in ten minutes; load %s", judgingFor,
		without.cpuSeconds*scale, with.cpuSeconds*scale, load())
	return nil
}

// judging starts an agent without a broker or a warden, with more in its configuration.
func (w *workshop) judging(o options, name, more string) (*process, error) {
	dir := w.path(name)
	conf, err := w.write(name+".toml", fmt.Sprintf("id = %q\nstate_dir = %q\nrun_dir = %q\n[broker]\nurls = [\"mqtt://127.0.0.1:1\"]\n%s", name, filepath.Join(dir, "state"),
		filepath.Join(dir, "run"), more))
	if err != nil {
		return nil, err
	}
	return w.start(name, exec.Command(o.agent, "run", "--config", conf))
}
