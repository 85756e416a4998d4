package doctor_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
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
