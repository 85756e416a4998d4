//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"

	"holdfast/board"
	"holdfast/board/loaders"
	"holdfast/cmd/internal/lab"
	"holdfast/cmd/internal/nbd"
)

// disks are the board's, each a medium of its own: a flush of one says nothing about the others.
var disks = []string{"env", "slot-a", "slot-b", "data"}

// envDevice is the number that U-Boot gives to the disk with the environment.
const envDevice = 0

// A device is one board: its media, its supply, and the machine between them.
type device struct {
	w       *world
	g       *guest
	dir     string
	supply  *nbd.Supply
	media   map[string]*nbd.Medium
	files   map[string]*os.File
	machine *lab.Machine
	starts  int
	stop    func()
}

// newDevice makes a board as a factory leaves it: the first release in slot a, the environment in two copies, no data.
func newDevice(ctx context.Context, dir string, w *world, g *guest, seed uint64) (*device, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	d := &device{w: w, g: g, dir: dir, supply: nbd.NewSupply(), media: map[string]*nbd.Medium{}, files: map[string]*os.File{}}
	d.supply.Off()
	if err := d.blanks(ctx); err != nil {
		return nil, err
	}
	for i, name := range disks {
		f, err := os.OpenFile(d.path(name), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		d.files[name] = f
		if d.media[name], err = nbd.NewMedium(d.supply, nbd.MediumOptions{Name: name, Image: f, Bytes: info.Size(), Seed: seed + uint64(i)}); err != nil {
			return nil, err
		}
	}
	socket := d.path("nbd")
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- (&nbd.Server{Exports: d.media}).Serve(ctx, listener) }()
	d.stop = func() { stop(); <-ended }
	d.machine = &lab.Machine{Dir: dir, Program: "qemu-system-aarch64", Args: d.args()}
	return d, nil
}

func (d *device) path(name string) string { return filepath.Join(d.dir, name) }

func (d *device) close() {
	_ = d.machine.Close()
	d.stop()
	for _, f := range d.files {
		f.Close()
	}
}

func (d *device) blanks(ctx context.Context) error {
	env, err := loaders.Encode(loaders.Vars{"BOOT_ORDER": "A B", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "0"}, 1, envBytes)
	if err != nil {
		return err
	}
	old, err := loaders.Encode(loaders.Vars{"BOOT_ORDER": "A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "0"}, 0, envBytes)
	if err != nil {
		return err
	}
	for name, raw := range map[string][]byte{"env": append(env, old...), "slot-a": d.w.images[releases[0]], "slot-b": nil, "data": nil, "order": nil} {
		if err := os.WriteFile(d.path(name), raw, 0o600); err != nil {
			return err
		}
	}
	for name, size := range map[string]int64{"slot-a": slotMiB << 20, "slot-b": slotMiB << 20, "data": dataMiB << 20, "order": 512} {
		if err := os.Truncate(d.path(name), size); err != nil {
			return err
		}
	}
	return run(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.path("data"))
}

func (d *device) args() []string {
	more := []string{"-rtc", "base=utc", "-device", fmt.Sprintf("loader,file=%s,addr=%#x,force-raw=on", d.g.kernel, kernelAt),
		"-device", fmt.Sprintf("loader,file=%s,addr=%#x,force-raw=on", d.g.initramfs, initramfsAt)}
	disk := func(name, what string, i int) {
		more = append(more, "-drive", "if=none,format=raw,id="+name+","+what,
			"-device", fmt.Sprintf("virtio-blk-device,bus=virtio-mmio-bus.%d,drive=%s,serial=%s", i, name, name))
	}
	for i, name := range disks {
		disk(name, fmt.Sprintf("cache=none,discard=unmap,file.driver=nbd,file.server.type=unix,file.server.path=%s,file.export=%s", d.path("nbd"), name), i)
	}
	disk("repo", "readonly=on,file="+d.w.repo, len(disks))
	disk("order", "readonly=on,file="+d.path("order"), len(disks)+1)
	return lab.Arm64{MiB: 192, Flash: d.g.flash, More: more}.Args()
}

// on turns the board on; at a deed of one disk, if its number is not 0, the power goes.
func (d *device) on(disk string, at int64) (gone <-chan struct{}, err error) {
	gone = d.supply.On(disk, at)
	d.starts++
	return gone, d.machine.Start()
}

// off cuts the power, and leaves on each medium what a damage by lot leaves.
func (d *device) off(rnd *rand.Rand, inSectors bool) (nbd.Loss, error) {
	d.supply.Off()
	err := d.machine.Cut()
	var all nbd.Loss
	for _, name := range disks {
		damage := nbd.Any(rnd)
		damage.InSectors = inSectors && rnd.IntN(2) == 0
		loss, bad := d.media[name].Cut(damage)
		err = errors.Join(err, bad)
		all.Held, all.Kept, all.Torn = all.Held+loss.Held, all.Kept+loss.Kept, all.Torn+loss.Torn
	}
	return all, err
}

// order says which release the board is to run.
func (d *device) order(release string) error {
	text := append([]byte(release+"\n"), bytes.Repeat([]byte{0}, 511-len(release))...)
	return os.WriteFile(d.path("order"), text, 0o600)
}

// holds returns the release that a slot holds, as who reads the disk now sees it; "" is none.
func (d *device) holds(id board.SlotID) (string, error) {
	have := make([]byte, slotMiB<<20)
	if _, err := d.media["slot-"+string(id)].ReadAt(have, 0); err != nil {
		return "", err
	}
	for name, image := range d.w.images {
		if bytes.Equal(have, image) {
			return name, nil
		}
	}
	return "", nil
}
