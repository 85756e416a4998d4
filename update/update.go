// Package update is a noun: it moves a device from one signed image to the next, and back.
//
// An Engine moves one thing that has two slots: the system, the agent's own program, or its content. It is the one loop
// of the process with power. Next says what to do, from the journal and from what the bootloader did, and nothing else;
// the journal is written before the deed, and every deed can be done twice. Whatever comes from outside is verified here,
// and pulled: the engine says what it wants, somebody with a network brings it, and is not believed.
package update

import (
	"errors"
	"time"

	"holdfast/board"
)

// A Phase is how far a job has come. The spelling is on disks in the field.
type Phase string

// The phases, in order.
const (
	Idle     Phase = ""         // no job
	Checking Phase = "checking" // the release is not verified yet
	Staging  Phase = "staging"  // the other slot is being written
	Staged   Phase = "staged"   // the other slot is whole and was read back
	Arming   Phase = "arming"   // the bootloader is told to try it; what follows is its doing
)

// A Job asks for one release.
type Job struct {
	ID         string    `json:"id"`                   // 1 to 64 bytes
	Release    string    `json:"release"`              // "name/version", 3 to 100 bytes
	Repository string    `json:"repository,omitempty"` // where who brings the files finds them; the engine only hands it on
	NotBefore  time.Time `json:"not_before,omitzero"`  // nothing is fetched before
	Window     string    `json:"window,omitempty"`     // times of day at which the device may restart; see ParseWindow
	Priority   int       `json:"priority,omitempty"`   // a job of a higher one takes the place of one that is not armed yet
}

// A Result is how a job ended.
type Result string

// The results.
const (
	Committed  Result = "committed"   // the device runs the release and trusts it
	RolledBack Result = "rolled_back" // the release was tried and given up
	Failed     Result = "failed"      // it could not be written
	Refused    Result = "refused"     // it may not or cannot run here; not a byte of a slot was written
	Canceled   Result = "canceled"    // somebody said so
)

// An Outcome is what is told of a job that has ended.
type Outcome struct {
	Job     string    `json:"job"`
	Release string    `json:"release"`
	Result  Result    `json:"result"`
	Reason  string    `json:"reason,omitempty"` // one word for machines, such as "expired"; see Reason
	Error   string    `json:"error,omitempty"`  // for people
	Trials  int       `json:"trials,omitempty"` // how often the release was started
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Trusted bool      `json:"trusted"` // the times are
}

// A Release is what the journal keeps of a verified release.
type Release struct {
	Name     string `json:"name"`
	Seq      int64  `json:"seq"`
	Floor    int64  `json:"security_floor"`
	Manifest string `json:"manifest"` // SHA-256 of the manifest file, hex
}

// A refusal is an error with the one word that stands for it in outcomes. Every way in which a release may be refused has
// a word of its own.
type refusal struct {
	word string
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refuse returns an error that Reason finds the word of.
func refuse(word string, err error) error { return &refusal{word, err} }

// Reason returns the word for why a job was refused or has failed: "expired", "signature", "incompatible", …; "other"
// where there is none. docs/updates.md lists them.
func Reason(err error) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.word
	}
	return "other"
}

// Step is one thing to do next.
type Step string

// The steps Next can ask for.
const (
	Wait     Step = "wait"      // there is no job
	Check    Step = "check"     // verify the release and whether it may run here
	Stage    Step = "stage"     // write the other slot, and read it back
	Arm      Step = "arm"       // tell the bootloader, when the time has come
	Restart  Step = "restart"   // into the slot that is armed, or out of one that is no good
	Probe    Step = "probe"     // the new system is on trial: is it in order?
	Finish   Step = "finish"    // the bootloader trusts the new system: note it
	FallBack Step = "fall_back" // the bootloader came back to the old system
	Abandon  Step = "abandon"   // somebody else changed slots meanwhile
)

// Next compares what the journal promised with what the bootloader did. It is the whole state machine, and it is pure.
func Next(j Journal, f board.BootFacts) Step {
	switch {
	case (j.Phase == Idle || j.Phase == Checking) && f.Leaving():
		return Probe // a trial nobody here began, or whose journal is lost, or too many starts that nobody vouched for
	case j.Phase == Idle:
		return Wait
	case j.Phase == Checking:
		return Check
	case j.Phase != Arming && f.Booted != j.From:
		return Abandon // the slot to be written is the one that runs
	case j.Phase == Staging:
		return Stage
	case j.Phase == Staged:
		return Arm
	// What follows is the bootloader's to say.
	case f.Booted == j.Target && f.Next == j.Target:
		return Finish
	case f.Booted == j.Target && j.Verdict != "":
		return Restart // it was judged, and the power went before it was restarted
	case f.Booted == j.Target:
		return Probe
	case f.Next == j.Target:
		return Restart
	case !j.Armed:
		return Arm // the power went before the bootloader knew
	}
	return FallBack
}
