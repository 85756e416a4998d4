package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"holdfast/board"
	"holdfast/cmd/internal/wire"
)

// bootloader asks what switches between the slots, as an update would. It changes nothing.
func (x *examination) bootloader(ctx context.Context) {
	var s wire.Switch
	var err error
	name := x.o.Config.Update.Bootloader
	c := Check{Name: "bootloader", Outcome: Fail, Hint: "look at [update] in " + x.o.File + "; docs/boards-slots.md says what each bootloader must have"}
	if !within(ctx, localLimit, func() { s, err = x.o.Bootloader() }) {
		c.Seen = name + " does not answer"
		x.add(c)
		return
	}
	unseen := x.o.UID != 0 && slices.ContainsFunc(s.Doubts, denied)
	if unseen { // the warden is root, and may
		s.Doubts = slices.DeleteFunc(s.Doubts, denied)
	}
	switch {
	case errors.Is(err, board.ErrUnsupported):
		x.skip(c.Name, "", "no bootloader is named: the system is not updated")
		return
	case errors.Is(err, fs.ErrPermission) && x.o.UID != 0:
		x.skip(c.Name, "", "needs root: "+err.Error())
		return
	case err != nil:
		c.Seen = name + ": " + err.Error()
	case len(s.Doubts) > 0:
		c.Outcome, c.Seen = Warn, name+": "+s.Doubts[0]
	default:
		c.Outcome, c.Hint = OK, ""
		c.Seen = fmt.Sprintf("%s: slot %s runs, the next start leads to slot %s", name, s.Booted, s.Next)
		if s.Leaving() {
			c.Seen += ": an update is on trial, or armed"
		}
		if unseen {
			c.Seen += "; whether an update can change that, root alone can see"
		}
	}
	if len(s.Doubts) > 1 || err != nil {
		c.Detail = s.Doubts
	}
	x.add(c)
}

// denied reports a doubt that is about the rights of whoever asks.
func denied(doubt string) bool { return strings.HasSuffix(doubt, fs.ErrPermission.Error()) }
