package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"holdfast/cmd/internal/wire"
	"holdfast/remediate"
)

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
