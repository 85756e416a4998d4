package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"holdfast/actuators"
	"holdfast/actuators/repair"
	"holdfast/agent"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/cmd/internal/config"
	"holdfast/remediate/ladder"
	"holdfast/update"
)

// packaged is where the playbooks lie that come with the package, below root.
const packaged = "usr/share/holdfast/playbooks.d"

// Playbooks reads what is done about which fault: the package's, those of the content in force where they count, and those of
// the configuration's directory, of one name the last. What could be read comes with the error of what
// could not; in its place is what was right before, where last has it.
func Playbooks(c config.Config, last ladder.Last) (ladder.Shelf, error) {
	if c.Repairs.Dir == "" {
		return ladder.Shelf{}, nil
	}
	dirs := []fs.FS{os.DirFS(filepath.Join(c.Root, packaged))}
	var unread error
	if c.Repairs.Content {
		content, err := OpenContent(c)
		if err == nil {
			defer content.Close()
			dirs = append(dirs, content.Playbooks())
		}
		unread = err
	}
	shelf, err := ladder.Load(guarded, last, append(dirs, os.DirFS(c.Repairs.Dir))...)
	return shelf, errors.Join(unread, err)
}

// lastName is the document of the playbooks that were right when they were last read. It is written when one of them has changed.
const lastName = "playbooks"

// lastingly reads the playbooks for a process that does not last. Where the document of those before cannot be read or written it does
// without.
func lastingly(c config.Config, files board.Files, log *slog.Logger) (ladder.Shelf, error) {
	last, was := ladder.Last{}, []byte(nil)
	text, err := files.ReadFile(lastName, ladder.LastBytes+64)
	if err == nil {
		was, err = board.Unseal(text)
	}
	if err == nil {
		last, err = ladder.ParseLast(was)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the playbooks before are forgotten", "err", err)
		last = ladder.Last{}
	}
	shelf, wrong := Playbooks(c, last)
	if now := last.Encode(); !bytes.Equal(now, was) {
		if err := files.WriteFile(lastName, board.Seal(now)); err != nil {
			log.Warn("playbooks", "err", fmt.Errorf("write %s: %w", lastName, err))
		}
	}
	return shelf, wrong
}

// guarded says what is wrong with who may write a file of playbooks: root, or whoever runs this process, and nobody else. What is
// no file of the system's is in content, which was verified.
func guarded(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return nil
	case stat.Uid != 0 && int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("belongs to user %d", stat.Uid)
	case info.Mode()&0o022 != 0:
		return fmt.Errorf("writable by others (mode %v)", info.Mode().Perm())
	}
	return nil
}

// repairVerbs are the warden's verbs about repairs, over the deeds in verbs.
func (w *Warden) repairVerbs(o WardenOptions, files board.Files, clock board.Clock, limiter *actuators.Limiter, verbs []actuators.Verb) ([]actuators.Verb, error) {
	c := o.Config
	if len(w.updates) > 0 {
		verbs = append(slices.Clip(verbs), warden.RollbackVerb(w.updates))
	}
	set, err := actuators.NewSet(actuators.Options{Allow: names(verbs), Clock: clock, Limiter: limiter, Audit: audit(w.log)}, verbs...)
	if err != nil {
		return nil, err
	}
	says := repair.Switches{OffFile: c.Repairs.OffFile, HoldsDir: filepath.Join(c.RunDir, "holds"), Systemd: filepath.Join(c.Root, "run/systemd")}
	if o.Power != nil { // a model of a machine: whoever works here does not work at it
		says.Systemd = ""
	}
	id, _ := ID(c)
	seed := fnv.New64a()
	_, _ = seed.Write([]byte(id)) // a hash never fails
	r, err := repair.New(repair.Options{Set: set, Limiter: limiter, Files: files, Clock: clock, Armed: c.Repairs.Armed, Seed: seed.Sum64(),
		Playbooks: func() (ladder.Shelf, error) { return lastingly(c, files, w.log) },
		Off:       says.Off, Holds: says.Holds, Sessions: says.Sessions, Busy: w.updating, Log: w.log.With("part", "repair")})
	if err != nil {
		return nil, err
	}
	return r.Verbs(), nil
}

func names(verbs []actuators.Verb) (all []string) {
	for _, v := range verbs {
		all = append(all, v.Name)
	}
	return all
}

// updating says that an update is under way or on trial. One of which nothing was written yet is not, nor one that is whole
// and waits, for a window or by somebody's word.
func (w *Warden) updating() string {
	for kind, e := range w.updates {
		if s := e.Status(); underWay(s) {
			return fmt.Sprintf("an update of the %s is %s", kind, s.Phase)
		}
	}
	return ""
}

func underWay(s update.Status) bool {
	switch {
	case s.Trial || s.Phase == "updating":
		return true
	case s.Phase == "verified":
		return s.Waiting == "" && !s.Paused
	}
	return s.Phase != "idle" && s.Bytes > 0
}

// repairs is how the agent has faults repaired.
func repairs(o Options, client *warden.Client, c func() config.Config) *agent.Repairs {
	last := ladder.Last{}
	return &agent.Repairs{
		Playbooks: func() (ladder.Shelf, error) { return Playbooks(c(), last) },
		Ask: func(ctx context.Context, verb string, args actuators.Args) (actuators.Result, error) {
			return client.Do(ctx, verb, args, actuators.Reason(ctx))
		},
		Interlocked: interlocked(o.Config),
	}
}

// interlocked are the outputs with an interlock: what they drive must not be left alone.
func interlocked(c config.Config) (all []string) {
	for name, l := range c.Lines {
		if l.Output && (l.MinOn > 0 || l.MinOff > 0 || l.MaxOn > 0 || l.MaxPerMinute > 0 || len(l.Excludes) > 0) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// safeLeave is the one verb about repairs that people ask for.
func safeLeave() []actuators.Verb {
	return slices.DeleteFunc(repair.Described(), func(v actuators.Verb) bool { return v.Name != "safe.leave" })
}
