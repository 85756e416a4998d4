package wire_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/actuators"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
	"holdfast/remediate"
	"holdfast/remediate/ladder"
)

// mains counts restarts.
type mains struct{ reboots int }

func (m *mains) Reboot(context.Context) error { m.reboots++; return nil }

const reboots = `fault = "net_down"
help = "The network is down."
symptom = "select * from LinkState(up = false)"
[[rung]]
name = "reboot"
do = "reboot"
`

// The warden does by its own files what the agent asks for, and the agent finds the same playbooks.
func TestTheWardenRepairsByItsPlaybooks(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	put("playbooks.d/net.toml", reboots, 0o640)
	put("playbooks.d/leak.toml", strings.NewReplacer("net_down", "mem_leak", `"reboot"`+"\n", `"restart"`+"\n").Replace(reboots), 0o640)
	put("playbooks.d/disk.toml", strings.Replace(reboots, "net_down", "disk_full", 1), 0o666)
	c := config.Default()
	c.ID, c.Vouched, c.StateDir, c.RunDir = "bench", true, filepath.Join(dir, "state"), filepath.Join(dir, "run")
	c.Repairs = config.Repairs{Dir: filepath.Join(dir, "playbooks.d"), Armed: []string{"net_down"}, OffFile: filepath.Join(dir, "off")}
	supply := &mains{}
	client, end, err := wire.Asking(t.Context(), c, supply)
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	ask := func(verb string, args actuators.Args) (actuators.Result, error) {
		return client.Do(t.Context(), verb, args, "test")
	}

	shelf, err := wire.Playbooks(c, nil)
	for _, words := range []string{"disk.toml: writable by others", `leak.toml:6:1: rung 1: do: no rung can be "restart"`} {
		if len(shelf) != 1 || shelf["net_down"] == nil || err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("the agent finds %v, %v", shelf, err)
		}
	}
	status, err := ask("repair.status", nil)
	if err != nil || status["playbooks"] != 1.0 || !strings.Contains(status["fault"].(string), "disk.toml") {
		t.Errorf("%v, %v", status, err)
	}
	if said, err := ask("boot.began", actuators.Args{"boot": "x"}); err != nil || said["safe"] != false {
		t.Errorf("%v, %v", said, err)
	}
	put("playbooks.d/net.toml", "fault = 1", 0o640) // what was right before stays in force, and that is said
	if status, err = ask("repair.status", nil); err != nil || status["playbooks"] != 1.0 || !strings.Contains(status["fault"].(string), "net.toml:1:9") {
		t.Errorf("with a broken file: %v, %v", status, err)
	}
	put("playbooks.d/net.toml", reboots, 0o640)
	step := actuators.Args{"fault": "net_down", "rung": 0.0}
	put("off", "", 0o600)
	if _, err := ask("repair.step", step); !errors.Is(err, actuators.ErrLocked) || !strings.Contains(err.Error(), "off is there") {
		t.Errorf("with the switch: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "off")); err != nil {
		t.Fatal(err)
	}
	put("run/holds/anna", "until noon", 0o600)
	if _, err := ask("repair.step", step); !errors.Is(err, actuators.ErrLocked) || !strings.Contains(err.Error(), "held by anna until noon") {
		t.Errorf("with a hold: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "run/holds/anna")); err != nil {
		t.Fatal(err)
	}
	if done, err := ask("repair.step", step); err != nil || done["do"] != "reboot" || supply.reboots != 1 {
		t.Errorf("%v, %v, %d reboots", done, err, supply.reboots)
	}
	if left, _, err := client.Limits(t.Context()); err != nil || left["reboot"].Deeds != 2 {
		t.Errorf("the class has %v left, %v", left, err)
	}
	if said, err := ask("repair.end", actuators.Args{"fault": "net_down", "rung": 0.0, "helped": true}); err != nil || said["level"] != 0.0 {
		t.Errorf("%v, %v", said, err)
	}
	if said, err := ask("safe.leave", nil); err != nil || said["safe"] != false {
		t.Errorf("%v, %v", said, err)
	}
}

// What the package brings is in force on a board of which nothing is configured: at the least it asks a person.
func TestThePackagedPlaybooksAreInForce(t *testing.T) {
	from, err := filepath.Glob("../../../packaging/playbooks.d/*.toml")
	if err != nil || len(from) < 15 {
		t.Fatalf("%d playbooks, %v", len(from), err)
	}
	c := config.Default()
	c.ID, c.Root, c.StateDir, c.RunDir, c.Repairs.Dir = "bench", t.TempDir(), filepath.Join(t.TempDir(), "state"), t.TempDir(), t.TempDir()
	dir := filepath.Join(c.Root, "usr/share/holdfast/playbooks.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range from {
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	shelf, err := wire.Playbooks(c, nil)
	if err != nil || len(shelf) != len(from) {
		t.Fatalf("%d of %d, %v", len(shelf), len(from), err)
	}
	for fault, p := range shelf {
		if err := remediate.CheckPlaybook(p); err != nil {
			t.Error(err)
		}
		if last := p.Rungs[len(p.Rungs)-1]; p.File != fault+".toml" || last.Do != ladder.Ask {
			t.Errorf("%s is for %s, and ends with %s", p.File, fault, last.Do)
		}
	}
	client, end, err := wire.Asking(t.Context(), c, &mains{})
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	status, err := client.Do(t.Context(), "repair.status", nil, "test")
	if err != nil || status["playbooks"] != float64(len(from)) || status["fault"] != "" {
		t.Errorf("%v, %v", status, err)
	}
	// One of the administrator's takes the place of one of the same name.
	if err := os.WriteFile(filepath.Join(c.Repairs.Dir, "net_down.toml"), []byte(reboots), 0o600); err != nil {
		t.Fatal(err)
	}
	if shelf, err = wire.Playbooks(c, nil); err != nil || len(shelf) != len(from) || shelf["net_down"].Rungs[0].Do != "reboot" {
		t.Errorf("%d, %v", len(shelf), err)
	}
	c.Repairs.Dir = ""
	if shelf, err = wire.Playbooks(c, nil); err != nil || len(shelf) != 0 {
		t.Errorf("without a directory: %d, %v", len(shelf), err)
	}
}

func TestThePlaybookInTheDocumentIsRight(t *testing.T) {
	page, err := os.ReadFile("../../../docs/playbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```\nfault ")
	text, _, found := strings.Cut("fault "+text, "```")
	p, err := ladder.Parse("playbooks.md", []byte(text))
	if err == nil {
		err = remediate.CheckPlaybook(p)
	}
	if err != nil || !found || len(p.Rungs) != 3 {
		t.Errorf("%v: %s", err, text)
	}
}
