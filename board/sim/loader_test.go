package sim_test

import (
	"iter"
	"strings"
	"syscall"
	"testing"

	"holdfast/board"
	"holdfast/board/boardtest"
	"holdfast/board/sim"
)

// rig is a bench over a disk; it can be cut as often as cuts says.
func rig(t *testing.T, disk *sim.Disk, cuts int) *boardtest.Machine {
	t.Helper()
	loader := sim.NewLoader(disk)
	m := &boardtest.Machine{
		Boot:    loader,
		Restart: func() error { _, err := loader.Start(); return err },
		Garble: func() {
			env := disk.Device("env", 2048)
			_, err := env.WriteAt([]byte(strings.Repeat("garbage ", 256)), 0)
			do(t, err, env.Sync())
		},
	}
	if cuts > 0 {
		m.Cuts = func(deed func()) iter.Seq[*boardtest.Machine] {
			return func(yield func(*boardtest.Machine) bool) {
				var left []*sim.Disk
				keep := func() {
					for d := range disk.CrashStates() {
						left = append(left, d)
					}
				}
				keep()
				disk.Watch(keep)
				deed()
				disk.Watch(nil)
				for _, d := range left {
					if !yield(rig(t, d, cuts-1)) {
						return
					}
				}
			}
		}
	}
	return m
}

func TestLoaderKeepsTheContract(t *testing.T) {
	boardtest.TestBoot(t, func(t *testing.T) *boardtest.Machine {
		m := rig(t, sim.NewDisk(1), 2)
		do(t, m.Restart())
		return m
	})
}

func TestASlotThatCannotBeLoadedIsLeftAfterItsTries(t *testing.T) {
	disk := sim.NewDisk(1)
	bad := board.SlotID("")
	loader := sim.NewLoader(disk)
	loader.Loads = func(id board.SlotID) bool { return id != bad }
	starts := func(want board.SlotID) {
		t.Helper()
		if got, err := loader.Start(); got != want || err != nil {
			t.Fatalf("Start = %q, %v, want %s", got, err, want)
		}
	}
	starts("a")
	bad = "b"
	do(t, loader.Arm("b"))
	starts("a")
	do(t, loader.Commit())
	bad = ""
	do(t, loader.Arm("b"))
	starts("b")
	do(t, loader.Commit())
	bad = "b" // it rots later: a has been kept to fall back to
	starts("a")
	bad = ""
	starts("a")
	do(t, loader.Disarm())
	bad = "a" // b may be half overwritten: it is not booted, whatever becomes of a
	if got, err := loader.Start(); err == nil {
		t.Errorf("Start = %s, want an error", got)
	}
	if _, err := loader.Facts(); err == nil {
		t.Error("facts of a machine that did not start")
	}
}

func TestOneCopyOfTheEnvironmentIsEnough(t *testing.T) {
	for copied := range int64(2) {
		for name, damage := range map[string]func(*sim.Device){
			"rotten":     func(env *sim.Device) { env.Flip(copied*1024+700, 1) },
			"unreadable": func(env *sim.Device) { env.Spoil(copied*1024+600, 1) },
		} {
			disk := sim.NewDisk(1)
			loader := sim.NewLoader(disk)
			for range 3 { // both copies have been written
				_, err := loader.Start()
				do(t, err, loader.Commit())
			}
			damage(disk.Device("env", 2048))
			if f, err := loader.Facts(); err != nil || f.Booted != "a" || f.Next != "a" {
				t.Errorf("copy %d %s: %+v, %v", copied, name, f, err)
			}
			do(t, loader.Arm("b"))
			if id, err := loader.Start(); id != "b" || err != nil {
				t.Errorf("copy %d %s: Start = %s, %v", copied, name, id, err)
			}
		}
	}
}

func TestWhatTheFactsSayACutDoesNotUndo(t *testing.T) {
	for n := 1; ; n++ {
		disk := sim.NewDisk(uint64(n))
		loader := sim.NewLoader(disk)
		_, err := loader.Start()
		do(t, err, loader.Arm("b"))
		_, err = loader.Start()
		do(t, err)
		killed := func() (killed bool) { // in the n-th operation that changes something
			defer func() { killed = recover() != nil }()
			seen := 0
			disk.Watch(func() {
				if seen++; seen == n {
					panic("killed")
				}
			})
			do(t, loader.Commit())
			return
		}()
		disk.Watch(nil)
		if !killed {
			if n < 3 {
				t.Fatalf("the commit has %d operations: nothing was killed", n-1)
			}
			return
		}
		f, err := loader.Facts()
		do(t, err)
		for left := range disk.CrashStates() {
			if id, err := sim.NewLoader(left).Start(); id != f.Next || err != nil {
				t.Errorf("killed in operation %d, the facts said %s, then a cut leads to %s, %v", n, f.Next, id, err)
			}
		}
	}
}

func TestAnEnvironmentThatCannotBeWrittenIsAnError(t *testing.T) {
	disk := sim.NewDisk(1)
	loader := sim.NewLoader(disk)
	_, err := loader.Start()
	do(t, err)
	disk.Break(sim.Fault{Err: syscall.EROFS})
	for name, err := range map[string]error{"arm": loader.Arm("b"), "disarm": loader.Disarm(), "commit": loader.Commit()} {
		if err == nil {
			t.Errorf("%s succeeded, want an error", name)
		}
	}
	disk.Break(sim.Fault{Err: syscall.EIO})
	if f, err := loader.Facts(); err == nil {
		t.Errorf("facts %+v, want an error", f)
	}
}

func TestSlotsKeepTheContract(t *testing.T) {
	boardtest.TestSlots(t, func(*testing.T) boardtest.Partitions {
		disk := sim.NewDisk(1)
		on := func(d *sim.Disk) *sim.Slots {
			return sim.NewSlots(d, func() board.SlotID { return "b" }, map[string]int64{"root": 65536, "kernel": 16384})
		}
		return boardtest.Partitions{Slots: on(disk), Booted: "b", Restart: func() board.Slots { return on(disk.Cut()) }}
	})
}

func TestAMountedPartIsNotFixedAndNotWritten(t *testing.T) {
	s := sim.NewSlots(sim.NewDisk(1), func() board.SlotID { return "a" }, map[string]int64{"root": 4096})
	s.Mounted = func(id board.SlotID, part string) bool { return id == "b" && part == "root" }
	for id, want := range map[board.SlotID]bool{"a": true, "b": false} {
		image, _, err := s.Image(id, "root")
		do(t, err)
		if fixed, err := image.Fixed(); fixed != want || err != nil {
			t.Errorf("slot %s: fixed %t, %v, want %t", id, fixed, err, want)
		}
	}
	if _, err := s.Open("b", "root", false); err == nil {
		t.Error("a mounted part was opened")
	}
}
