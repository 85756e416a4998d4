// Package repair is a driver: it does the rungs of playbooks within limits it keeps, and watches over how the machine
// boots. It lives in the process with power; who asks names a fault and says what it saw, and never a deed.
package repair

import "holdfast/actuators"

// Bounds of what the agent says.
const (
	valuesBytes   = 1 << 10 // JSON text of one flat object
	evidenceBytes = 1536    // likewise, and kept in the log alone
	mostRungs     = 8
)

// Described are the verbs, for a process that asks another: their Do is nil and not to be called.
func Described() []actuators.Verb { return (*Repairs)(nil).Verbs() }

// Verbs are what may be asked. None is for the cloud but safe.leave.
func (r *Repairs) Verbs() []actuators.Verb {
	fault := actuators.Param{Name: "fault", Kind: actuators.Text, Required: true, Max: 32, Help: "which fault"}
	rung := actuators.Param{Name: "rung", Kind: actuators.Number, Required: true, Max: mostRungs - 1, Help: "which rung of its playbook, from 0"}
	boot := actuators.Param{Name: "boot", Kind: actuators.Text, Max: 64, Help: "the boot's id, for the log: which boot it is the warden knows itself"}
	ended := actuators.Param{Name: "ended", Kind: actuators.Text, Max: 64, Help: "a boot that the agent ended in order, when nobody could be told"}
	return []actuators.Verb{
		{Name: "repair.plan", Help: "which rung of a fault is next, and why not now", Params: []actuators.Param{fault}, Do: r.plan},
		{Name: "repair.step", Help: "do the next rung of a fault", Params: []actuators.Param{fault, rung,
			{Name: "values", Kind: actuators.Text, Max: valuesBytes, Help: "JSON object: what the arguments have places for"},
			{Name: "evidence", Kind: actuators.Text, Max: evidenceBytes, Help: "JSON object: why, for the log"}}, Do: r.step},
		{Name: "repair.end", Help: "say what came of a rung", Params: []actuators.Param{fault, rung,
			{Name: "helped", Kind: actuators.Truth, Required: true, Help: "the symptom is gone"}}, Do: r.end},
		{Name: "repair.status", Help: "how repairs stand", Do: r.status},
		{Name: "boot.began", Help: "the agent has started", Params: []actuators.Param{boot, ended}, Do: r.began},
		{Name: "boot.lasted", Help: "the machine has been up for ten minutes, or for an hour", Params: []actuators.Param{boot, ended}, Do: r.lasted},
		{Name: "boot.ended", Help: "the agent ends in order", Params: []actuators.Param{boot}, Do: r.ended},
		{Name: "safe.leave", Help: "leave safe mode", Do: r.leave},
	}
}
