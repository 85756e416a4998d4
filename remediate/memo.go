package remediate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"holdfast/board"
	"holdfast/board/strict"
	"holdfast/remediate/ladder"
)

// memoName is the document of the repair under way: it is written before the deed and removed after its end, so that what came of a
// restart of the machine is looked at behind it.
const memoName = "repair.json"

const memoBytes = 16 << 10

func (r *Rules) remembers(m *memo) error {
	text, err := json.Marshal(m)
	if err == nil && len(text) > memoBytes-sealBytes {
		err = fmt.Errorf("%d bytes", len(text))
	}
	if err == nil {
		err = r.o.Files.WriteFile(memoName, board.Seal(text))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", memoName, err)
	}
	return nil
}

// forget empties the document. Where that cannot be written the repair is looked at once more after a restart, and nothing is done.
func (r *Rules) forget() {
	if err := r.o.Files.WriteFile(memoName, board.Seal([]byte("{}"))); err != nil {
		r.o.Log.Warn("repair", "err", fmt.Errorf("write %s: %w", memoName, err))
	}
}

// recallRepair reads which repair was under way when the agent ended.
func (r *Rules) recallRepair() error {
	doc, err := r.o.Files.ReadFile(memoName, memoBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		doc, err = board.Unseal(doc)
	}
	var m memo
	if err == nil {
		err = strict.Unmarshal(doc, &m, strict.Limits{Bytes: memoBytes, Depth: 3, Members: 4 * maxValues})
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", memoName, err)
	}
	if ladder.IsFault(m.Fault) && m.Rung >= 0 && m.Rung < ladder.MaxRungs {
		r.climb.memo, r.climb.step = m, recalled
	}
	return nil
}

// resume goes on with a repair that was under way when the agent ended: it settles, and the symptom is watched.
func (r *Rules) resume(now time.Time) {
	c := &r.climb
	if c.step != recalled {
		return
	}
	c.plan, c.timeout = r.plans[c.Fault], askLimit
	if c.plan == nil {
		r.finish(now, false, "its playbook is gone")
		return
	}
	if c.Rung < len(c.plan.Rungs) {
		c.timeout = c.plan.Rungs[c.Rung].Timeout // its undo may take as long
	}
	r.o.Log.Warn("a repair goes on", "fault", c.Fault, "rung", c.Name, "do", c.Do)
	r.settling(now)
}
