package wire

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
)

// layoutOf is where a configuration says the slots are.
func layoutOf(c config.Config) linux.Layout {
	layout := linux.Layout{Parts: map[string]map[board.SlotID]string{}, Cmdline: c.Update.UBoot.Cmdline, Root: c.Root}
	for name, p := range c.Update.Parts {
		layout.Parts[name] = map[board.SlotID]string{board.SlotA: p.A, board.SlotB: p.B}
	}
	return layout
}

// bootloader makes the one that a configuration names; the layout is told how it calls the slots.
func bootloader(c config.Config, layout *linux.Layout) (board.Boot, error) {
	u := c.Update
	switch u.Bootloader {
	case "grub":
		layout.Names = map[board.SlotID]string{board.SlotA: u.GRUB.A, board.SlotB: u.GRUB.B}
		return linux.NewGRUB(linux.GRUBOptions{Layout: *layout, Env: u.GRUB.Env, Copy: u.GRUB.Copy, Attempts: u.GRUB.Attempts})
	case "tryboot":
		return linux.NewTryboot(linux.TrybootOptions{Layout: *layout, Autoboot: u.Tryboot.Autoboot, Partitions: [2]int{u.Tryboot.A, u.Tryboot.B}})
	case "systemd-boot":
		return linux.NewSDBoot(linux.SDBootOptions{Layout: *layout, ESP: u.SystemdBoot.ESP})
	}
	o := linux.UBootOptions{Convention: strings.TrimPrefix(u.Bootloader, "uboot-"), Attempts: u.UBoot.Attempts, Printenv: u.UBoot.Print,
		Setenv: u.UBoot.Set, Config: u.UBoot.Config}
	if u.UBoot.A != "" && o.Convention == "rauc" {
		layout.Names = map[board.SlotID]string{board.SlotA: u.UBoot.A, board.SlotB: u.UBoot.B}
	} else if u.UBoot.A != "" {
		a, errA := strconv.Atoi(u.UBoot.A)
		b, errB := strconv.Atoi(u.UBoot.B)
		if err := errors.Join(errA, errB); err != nil {
			return nil, &config.Error{File: "configuration", Problem: "update.uboot: with uboot-mender a and b are partition numbers"}
		}
		o.Partitions = [2]int{a, b}
	}
	o.Layout = *layout
	return linux.NewUBoot(o)
}

// A Switch is what the bootloader of a configuration says when it is asked, and what may keep it from doing its part.
type Switch struct {
	board.BootFacts
	Doubts []string
}

// Bootloader asks the bootloader of a configuration, and changes nothing. A model has none: ErrUnsupported.
func Bootloader(c config.Config) (Switch, error) {
	if c.Update.Bootloader == "" || c.Update.Bootloader == "model" {
		return Switch{}, board.ErrUnsupported
	}
	if err := place(&c, slog.New(slog.DiscardHandler)); err != nil {
		return Switch{}, err
	}
	layout := layoutOf(c)
	b, err := bootloader(c, &layout)
	if err != nil {
		return Switch{}, fmt.Errorf("bootloader: %w", err)
	}
	s := Switch{}
	if d, ok := b.(interface{ Doubts() []string }); ok {
		s.Doubts = d.Doubts()
	}
	s.BootFacts, err = b.Facts()
	return s, err
}
