package doctor_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast/agent"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/doctor"
	"holdfast/remediate"
)

func TestRulesThatDoNotCompile(t *testing.T) {
	t.Parallel()
	const good = "select cpuUtilization from DeviceStatus(cpuUtilization > 90)"
	files := func(text string) []remediate.File { return []remediate.File{{Name: "cpu.epl", Text: text}} }
	for _, tt := range []struct {
		name, text, force string
		outcome           doctor.Outcome
		words             []string
	}{
		{"right", good, remediate.Hash(files(good)), doctor.OK, []string{"1 files in"}},
		{"right, and not in force", good, "other", doctor.Warn, []string{"has others in force", "systemctl reload"}},
		{"wrong", "select cpu from\nDeviceStats", "other", doctor.Fail, []string{"cpu.epl:2:1", "did you mean DeviceStatus", "rules check"}},
	} {
		o := options(t, func(c *config.Config) { c.Rules.Dir = t.TempDir() })
		if err := os.WriteFile(filepath.Join(o.Config.Rules.Dir, "cpu.epl"), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Status = func(context.Context) (agent.Status, error) {
			return agent.Status{Rules: &agent.RulesStatus{Hash: tt.force}}, nil
		}
		t.Log(tt.name)
		expect(t, find(t, doctor.Run(t.Context(), o), "rules"), tt.outcome, tt.words...)
	}
	o := options(t, func(c *config.Config) { c.Rules.Dir = t.TempDir() })
	if slices.ContainsFunc(doctor.Run(t.Context(), o).Checks, func(c doctor.Check) bool { return c.Name == "rules" }) {
		t.Error("something is said of a board without rules")
	}
}

func TestAModelAndPlaybooksThatAreNotRight(t *testing.T) {
	t.Parallel()
	const book = "fault = \"mem_leak\"\nhelp = \"it leaks\"\nsymptom = \"select * from DeviceStatus(memoryUtilization > 90)\"\n[[rung]]\nname = \"a\"\ndo = \"ask\"\n"
	for _, tt := range []struct {
		name, check, text string
		outcome           doctor.Outcome
		words             []string
	}{
		{"no model", "model", "no model", doctor.Fail, []string{"model: ", "model info"}},
		{"a playbook", "playbooks", book, doctor.OK, []string{"1 are right, 1 armed"}},
		{"a typing error", "playbooks", "falt = 1\n" + book, doctor.Fail, []string{"a.toml:1:1", "playbook check"}},
		{"a symptom that does not compile", "playbooks", strings.Replace(book, "memoryU", "memryU", 1), doctor.Fail, []string{"a.toml: symptom", "memoryUtilization"}},
		{"armed for nothing", "playbooks", strings.Replace(book, "mem_leak", "cpu_hog", 1), doctor.Warn, []string{"no playbook: mem_leak"}},
	} {
		o := options(t, func(c *config.Config) {
			c.Rules.Dir = ""
			c.Repairs.Dir, c.Repairs.Armed = t.TempDir(), []string{"mem_leak"}
			if tt.check == "model" {
				c.Diagnosis.Model = filepath.Join(c.Repairs.Dir, "a.toml")
			}
		})
		if err := os.WriteFile(filepath.Join(o.Config.Repairs.Dir, "a.toml"), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Log(tt.name)
		expect(t, find(t, doctor.Run(t.Context(), o), tt.check), tt.outcome, tt.words...)
	}
}
