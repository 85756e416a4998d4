// Package arch holds the floor plan, and fails when an import leaves it. Run it with -count=1: the test cache does not
// see what go list reads.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "holdfast/"

// plan says which of our packages each package may import. A package that is not listed may not exist. The ground floor
// (board and board/strict) is open to nouns and drivers; cmd/... may import anything.
var plan = map[string]string{
	// ground floor
	"board":        "",
	"board/strict": "",
	// leaves
	"agent/shadow": "board/strict", "agent/spool": "", "agent/digest": "",
	"update/bsdiff": "board/strict", "update/trust": "board/strict",
	"board/loaders": "", "board/profile": "board/strict", "collectors/doubt": "",
	"remediate/epl": "", "remediate/epl/cases": "remediate/epl", "remediate/habit": "", "remediate/ladder": "board/strict",
	"remediate/forest": "", "remediate/forest/foreign": "remediate/forest board/strict", "remediate/forest/train": "remediate/forest",
	// nouns
	"collectors": "board",
	"actuators":  "board board/strict",
	"agent/link": "board board/strict agent/shadow",
	"remediate":  "board board/strict collectors actuators remediate/epl remediate/forest remediate/habit remediate/ladder",
	"agent":      "board board/strict collectors actuators remediate agent/link agent/shadow agent/spool agent/digest",
	"update":     "board board/strict update/bsdiff update/trust",
	// drivers: import nouns, are imported by cmd alone
	"board/linux":         "board board/strict board/loaders",
	"board/sim":           "board board/loaders",
	"board/boardtest":     "board",
	"collectors/host":     "collectors board",
	"collectors/units":    "collectors board",
	"collectors/journal":  "collectors board",
	"collectors/pins":     "collectors board",
	"collectors/probe":    "collectors",
	"collectors/sensors":  "collectors collectors/doubt",
	"collectors/i2c":      "collectors collectors/doubt board",
	"actuators/relay":     "actuators board",
	"actuators/unit":      "actuators actuators/confined board",
	"actuators/confined":  "board",
	"actuators/script":    "actuators actuators/confined board",
	"actuators/clean":     "actuators board/strict",
	"actuators/iface":     "actuators board board/strict",
	"actuators/power":     "actuators board",
	"actuators/repair":    "actuators board board/strict remediate/ladder",
	"agent/link/mqtt":     "agent/link board",
	"agent/link/linktest": "agent/link board",
	"agent/fetch":         "agent board",
	"agent/warden":        "agent actuators board board/strict update",
	"update/updatetest":   "update update/bsdiff update/trust",
	"agent/local":         "agent board board/strict",
	"agent/lines":         "actuators board board/strict",
}

func TestImportsStayOnTheFloorPlan(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		seen++
		if strings.HasPrefix(name, "cmd/") {
			continue
		}
		may, listed := plan[name]
		if !listed {
			t.Errorf("%s: not in the plan", name)
		}
		for _, imp := range p.Imports {
			if dep, ours := strings.CutPrefix(imp, module); ours && !slices.Contains(strings.Fields(may), dep) {
				t.Errorf("%s may not import %s", name, dep)
			}
		}
	}
	if seen < 5 {
		t.Fatalf("go list found %d packages: the check saw nothing", seen)
	}
}

// What operators and tests use is large, or wants cgo: none of it goes onto the board.
func TestTheDeviceCarriesNoneOfTheOperatorsLibraries(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", module+"cmd/holdfast")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"agent") {
		t.Fatal("go list does not name the agent: the check saw nothing")
	}
	for _, dep := range deps {
		for _, kept := range []string{"github.com/theupdateframework/", "github.com/sigstore/", "github.com/icedream/",
			"github.com/DataDog/", "github.com/spf13/", "github.com/mochi-mqtt/", "filippo.io/"} {
			if strings.HasPrefix(dep, kept) {
				t.Errorf("holdfast carries %s", dep)
			}
		}
	}
}
