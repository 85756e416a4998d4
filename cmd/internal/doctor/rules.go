package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"holdfast/cmd/internal/wire"
	"holdfast/remediate"
)

// model reads the model that the configuration names, has it say its golden rows, and looks whether the agent has it in force.
func (x *examination) model() {
	c := x.o.Config
	if c.Diagnosis.Model == "" && !c.Diagnosis.Content {
		return
	}
	text, err := wire.ModelOf(c)
	if errors.Is(err, fs.ErrPermission) && x.o.UID != 0 {
		x.skip("model", "", "needs root: "+err.Error())
		return
	}
	id := ""
	if err == nil && text != nil {
		id, err = remediate.CheckModel(text)
	}
	force := ""
	if x.status != nil && x.status.Rules != nil && x.status.Rules.Model != nil {
		force = x.status.Rules.Model.ID
	}
	switch {
	case err != nil:
		x.add(Check{Name: "model", Outcome: Fail, Seen: err.Error(), Hint: "holdfastctl model info shows what is in it; meanwhile the one before stays in force"})
	case text == nil:
		x.add(Check{Name: "model", Outcome: OK, Seen: "the content has none"})
	case x.status != nil && force != id:
		x.add(Check{Name: "model", Outcome: Warn, Seen: id + " is right, and the agent has another in force", Hint: "systemctl reload holdfast"})
	default:
		x.add(Check{Name: "model", Outcome: OK, Seen: id + " says of its golden rows what its maker got"})
	}
}

// playbooks reads the playbooks and compiles their statements, and says which faults are armed without one.
func (x *examination) playbooks() {
	c := x.o.Config
	if c.Repairs.Dir == "" {
		return
	}
	shelf, err := wire.Playbooks(c, nil)
	if errors.Is(err, fs.ErrPermission) && x.o.UID != 0 {
		x.skip("playbooks", "", "needs root: "+err.Error())
		return
	}
	problems := []error{err}
	for _, fault := range slices.Sorted(maps.Keys(shelf)) {
		problems = append(problems, remediate.CheckPlaybook(shelf[fault]))
	}
	var idle []string
	for _, fault := range c.Repairs.Armed {
		if shelf[fault] == nil {
			idle = append(idle, fault)
		}
	}
	switch err := errors.Join(problems...); {
	case err != nil:
		list := strings.Split(err.Error(), "\n")
		x.add(Check{Name: "playbooks", Outcome: Fail, Seen: list[0], Detail: list[1:],
			Hint: "correct it, see that holdfastctl playbook check takes it, and systemctl reload holdfast"})
	case len(idle) > 0:
		x.add(Check{Name: "playbooks", Outcome: Warn, Seen: "armed, and there is no playbook: " + strings.Join(idle, ", "), Hint: "repairs.armed names faults, such as mem_leak"})
	case len(shelf) > 0:
		x.add(Check{Name: "playbooks", Outcome: OK, Seen: fmt.Sprintf("%d are right, %d armed", len(shelf), len(c.Repairs.Armed))})
	}
}

// rules compiles the files of rules as the agent would, and looks whether it has them in force. Without files there is
// nothing to say.
func (x *examination) rules() {
	c := x.o.Config
	if c.Rules.Dir == "" {
		return
	}
	files, err := wire.RuleFiles(c)
	if errors.Is(err, fs.ErrPermission) && x.o.UID != 0 {
		x.skip("rules", "", "needs root: "+err.Error())
		return
	}
	if err == nil {
		err = remediate.Check(files)
	}
	hash := remediate.Hash(files)
	switch {
	case err != nil:
		list := strings.Split(err.Error(), "\n")
		x.add(Check{Name: "rules", Outcome: Fail, Seen: list[0], Detail: list[1:],
			Hint: "correct it, see that holdfastctl rules check takes it, and systemctl reload holdfast; meanwhile the rules before stay in force"})
	case len(files) == 0:
	case x.status != nil && x.status.Rules != nil && x.status.Rules.Hash != hash:
		x.add(Check{Name: "rules", Outcome: Warn, Seen: "the files are right, and the agent has others in force", Hint: "systemctl reload holdfast"})
	default:
		x.add(Check{Name: "rules", Outcome: OK, Seen: fmt.Sprintf("%d files in %s are right (%s)", len(files), c.Rules.Dir, hash)})
	}
}
