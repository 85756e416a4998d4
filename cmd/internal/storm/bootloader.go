//go:build linux

package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"holdfast/board/loaders"
)

// mostStates is how many environments the bootloader is tried with.
const mostStates = 16

// A state is what the two copies of the environment are.
type state struct {
	vars  [2]loaders.Vars
	flags [2]byte
	whole [2]bool
}

// stateOf returns one by lot, with counts that are spent and copies that are torn. In the first two the flags go round.
func stateOf(i int, rnd *rand.Rand) (s state) {
	if i < 2 {
		s = state{flags: [2]byte{255, 0}, whole: [2]bool{true, true}}
		s.vars[0] = loaders.Vars{"BOOT_ORDER": "A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"}
		s.vars[1] = loaders.Vars{"BOOT_ORDER": "B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "3"}
		s.flags[0], s.flags[1] = s.flags[i], s.flags[1-i]
		return s
	}
	for i := range s.vars {
		s.vars[i] = loaders.Vars{"BOOT_ORDER": [...]string{"A B", "B A", "A", "B"}[rnd.IntN(4)]}
		for _, name := range []string{"BOOT_A_LEFT", "BOOT_B_LEFT"} {
			s.vars[i][name] = [...]string{"0", "1", "3", "a"}[rnd.IntN(4)]
		}
		s.flags[i] = [...]byte{0, 1, 2, 9, 0x10, 0x7f, 0x80, 254, 255}[rnd.IntN(9)]
		s.whole[i] = rnd.IntN(4) > 0
	}
	return s
}

func (s state) encode() (raw []byte, err error) {
	for i := range s.vars {
		b, err := loaders.Encode(s.vars[i], s.flags[i], envBytes)
		if err != nil {
			return nil, err
		}
		if !s.whole[i] {
			b[envBytes/2]++ // behind the variables, where only the checksum sees it
		}
		raw = append(raw, b...)
	}
	return raw, nil
}

// want returns what the bootloader has to start by package loaders, and to write to which copy; "" is nothing.
func (s state) want() (slot string, n int, left loaders.Vars, err error) {
	now := loaders.Newer(s.flags[0], s.flags[1])
	switch {
	case !s.whole[0] && !s.whole[1]:
		return "", 0, nil, nil
	case !s.whole[now]:
		now = 1 - now
	}
	v := maps.Clone(s.vars[now])
	if slot, err = (loaders.RAUC{}).Next(v); err != nil {
		return "", 0, nil, err
	}
	key := "BOOT_" + slot + "_LEFT"
	if v[key] == "0" { // none that is listed has one left
		v["BOOT_A_LEFT"], v["BOOT_B_LEFT"] = "3", "3"
	}
	v[key] = map[string]string{"1": "0", "3": "2", "a": "9"}[v[key]]
	return slot, 1 - now, v, nil
}

var chosen = regexp.MustCompile(`^storm: (boots ([AB])|environment lost)`)

// tryBootloader sees whether U-Boot and its script do what package loaders says, in environments by lot.
func tryBootloader(ctx context.Context, dir string, w *world, g *guest, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 99))
	d, err := newDevice(ctx, filepath.Join(dir, "bootloader"), w, g, seed)
	if err != nil {
		return err
	}
	defer d.close()
	for i := range mostStates {
		s := stateOf(i, rnd)
		raw, err := s.encode()
		if err != nil {
			return err
		}
		if err := os.WriteFile(d.path("env"), raw, 0o600); err != nil {
			return err
		}
		if err := d.tryState(ctx, s); err != nil {
			return fmt.Errorf("bootloader, state %d of seed %d, %+v: %w", i, seed, s, err)
		}
	}
	return nil
}

func (d *device) tryState(ctx context.Context, s state) error {
	slot, n, left, err := s.want()
	if err != nil {
		return err
	}
	from := 0
	if d.machine.Console != nil {
		from = d.machine.Console.Len()
	}
	if _, err := d.on("", 0); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	_, line, err := d.machine.Console.Wait(ctx, from, chosen)
	d.supply.Off()
	if cut := d.machine.Cut(); err == nil {
		err = cut
	}
	if err != nil {
		return err
	}
	raw := make([]byte, 2*envBytes)
	if _, err := d.media["env"].ReadAt(raw, 0); err != nil {
		return err
	}
	if got := chosen.FindStringSubmatch(line.Text)[2]; got != slot {
		return fmt.Errorf("it starts %q, want %q", got, slot)
	}
	if slot == "" {
		return nil
	}
	v, flag, err := loaders.Decode(raw[n*envBytes:][:envBytes])
	if err != nil || !maps.Equal(v, left) || flag != s.flags[1-n]+1 {
		return fmt.Errorf("it wrote copy %d with flag %d, %v, %v, want flag %d and %v", n, flag, v, err, s.flags[1-n]+1, left)
	}
	return nil
}
