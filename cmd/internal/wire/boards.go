package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/board/profile"
	"holdfast/cmd/internal/config"
)

// BoardsDir is where the user's own profiles are, below the root.
const BoardsDir = "etc/holdfast/boards.d"

// Profile is the board that the configuration names, or that the device tree matches; nil where there is none.
func Profile(c config.Config) (*profile.Profile, error) {
	all, err := profile.Load(os.DirFS(filepath.Join(c.Root, BoardsDir)))
	if err == nil {
		var p *profile.Profile
		if p, err = profile.Select(all, c.Board, linux.Compatible(c.Root)); err == nil {
			return p, nil
		}
	}
	return nil, misplaced(err)
}

// misplaced turns the errors of profiles into those of the configuration, which say what to do by their exit code.
func misplaced(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, misplaced(e))
		}
		return errors.Join(all...)
	}
	var bad *profile.Error
	if errors.As(err, &bad) {
		return &config.Error{File: bad.File, Line: bad.Line, Column: bad.Column, Problem: bad.Problem, Hint: "the user's profiles are in /" + BoardsDir}
	}
	return &config.Error{File: "configuration", Problem: err.Error()}
}

// WithBoard returns the configuration with what the board's profile proposes for updates, where it asks for that.
func WithBoard(c config.Config) (config.Config, error) {
	if !c.Update.FromBoard {
		return c, nil
	}
	p, err := Profile(c)
	if err != nil {
		return c, err
	}
	if p == nil {
		return c, &config.Error{File: "configuration", Problem: "update.from_board: no profile matches this board",
			Hint: "name one with the key board, or write one into /" + BoardsDir}
	}
	if c.Update.Bootloader == "" {
		if c.Update.Bootloader = p.Bootloader; p.Bootloader == "" {
			return c, &config.Error{File: "configuration", Problem: "update.from_board: the profile " + p.Name + " proposes no bootloader", Hint: "set bootloader in [update]"}
		}
	}
	if len(c.Update.Parts) == 0 && len(p.Parts) > 0 {
		c.Update.Parts = map[string]config.Part{}
		for name, part := range p.Parts {
			c.Update.Parts[name] = config.Part{A: part.A, B: part.B}
		}
	}
	return c, c.Check()
}

// Placed says where the slots of a configuration are: as it says itself, else as the machine does.
func Placed(c config.Config) (linux.Found, error) {
	if len(c.Update.Parts) > 0 {
		f := linux.Found{Source: "configuration", Parts: map[string]map[board.SlotID]string{}}
		for name, p := range c.Update.Parts {
			f.Parts[name] = map[board.SlotID]string{board.SlotA: p.A, board.SlotB: p.B}
		}
		return f, nil
	}
	all, err := linux.Discover(c.Root)
	if err != nil {
		return linux.Found{}, err
	}
	return linux.Choose(c.Root, all)
}

// place fills in what the configuration leaves out and the machine says: where the slots are and how the bootloader
// calls them. The names are taken only from a source that is about the same bootloader.
func place(c *config.Config, log *slog.Logger) error {
	f, err := Placed(*c)
	if err != nil {
		return &config.Error{File: "configuration", Problem: "update.parts: " + err.Error(),
			Hint: `say where the slots are, as in [update.parts.root] a = "/dev/…" b = "/dev/…"`}
	}
	if len(c.Update.Parts) > 0 {
		return nil
	}
	log.Info("slots found", "layout", f.String())
	c.Update.Parts = map[string]config.Part{}
	for name, p := range f.Parts {
		c.Update.Parts[name] = config.Part{A: p[board.SlotA], B: p[board.SlotB]}
	}
	if g, usual := &c.Update.GRUB, config.Default().Update.GRUB; c.Update.Bootloader == "grub" && f.Bootloader == "grub" && *g == usual {
		g.A, g.B = f.Names[board.SlotA], f.Names[board.SlotB]
		if f.GrubEnv != "" {
			g.Env, g.Copy = f.GrubEnv, f.GrubEnv+".copy"
		}
	}
	if u := &c.Update.UBoot; u.A == "" && u.B == "" {
		switch {
		case c.Update.Bootloader == "uboot-rauc" && f.Bootloader == "uboot-rauc":
			u.A, u.B = f.Names[board.SlotA], f.Names[board.SlotB]
		case c.Update.Bootloader == "uboot-mender" && f.Partitions[0] > 0 && f.Partitions[1] > 0:
			u.A, u.B = strconv.Itoa(f.Partitions[0]), strconv.Itoa(f.Partitions[1])
		}
	}
	return nil
}

// Missing lists the places of a layout at which nothing is.
func Missing(c config.Config, f linux.Found) (problems []string) {
	for _, err := range (linux.Layout{Root: c.Root, Parts: f.Parts}).Missing() {
		if errors.Is(err, fs.ErrPermission) {
			continue
		}
		problems = append(problems, fmt.Sprint(err))
	}
	return problems
}

// Spec says where a line is that the configuration gives as a name of the board's profile, or as the kernel's name or
// chip:offset, which then stay as they are. An output by a name of a profile that nobody verified is refused unless the
// configuration accepts that.
func Spec(c config.Config, p *profile.Profile, name, line string, output bool) (string, error) {
	spec, ok := p.Line(line)
	if !ok {
		return line, nil
	}
	if err := p.Outputs(c.AcceptUnverified); output && err != nil {
		return "", &config.Error{File: "configuration", Problem: fmt.Sprintf("lines.%s: %v", name, err),
			Hint: "try it as an input first; then set accept_unverified_board = true, or line = \"" + spec + "\""}
	}
	return spec, nil
}
