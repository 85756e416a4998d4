package nbd_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/cmd/internal/nbd"
)

// serve gives the media of exports at a socket, and returns the address of one by its name.
func serve(t *testing.T, exports map[string]*nbd.Medium) func(name string) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "nbd")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- (&nbd.Server{Exports: exports}).Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return func(name string) string { return "nbd+unix:///" + name + "?socket=" + socket }
}

// peer runs a program that somebody else wrote.
func peer(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not here: install libnbd-bin and qemu-utils", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestLibnbdFindsTheExports(t *testing.T) {
	address := serve(t, exports(t))
	var list struct {
		Exports []struct {
			Name    string `json:"export-name"`
			Size    int64  `json:"export-size"`
			Read    bool   `json:"is_read_only"`
			Flush   bool   `json:"can_flush"`
			FUA     bool   `json:"can_fua"`
			Trim    bool   `json:"can_trim"`
			Zero    bool   `json:"can_zero"`
			Minimum int64  `json:"block_size_minimum"`
		} `json:"exports"`
	}
	if err := json.Unmarshal([]byte(peer(t, "nbdinfo", "--json", "--list", address(""))), &list); err != nil {
		t.Fatal(err)
	}
	if n := len(list.Exports); n != 2 {
		t.Fatalf("%d exports", n)
	}
	d, s := list.Exports[0], list.Exports[1]
	if d.Name != "disk" || d.Size != 1<<20 || d.Read || !d.Flush || !d.FUA || !d.Trim || !d.Zero || d.Minimum != 512 {
		t.Errorf("disk is %+v", d)
	}
	if s.Name != "stick" || !s.Read || s.Trim {
		t.Errorf("stick is %+v", s)
	}
}

func TestACopyByLibnbdComesBack(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	image := make([]byte, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range image[:900<<10] { // then a hole
		image[i] = byte(rnd.Uint32())
	}
	if err := os.WriteFile(in, image, 0o600); err != nil {
		t.Fatal(err)
	}
	address := serve(t, exports(t))
	peer(t, "nbdcopy", "--flush", in, address("disk"))
	peer(t, "nbdcopy", address("disk"), out)
	if got, err := os.ReadFile(out); err != nil || string(got) != string(image) {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

func TestQEMUWritesAndReads(t *testing.T) {
	b := newBench(t, 2048, 0)
	address := serve(t, map[string]*nbd.Medium{"disk": b.medium})
	b.supply.On("", 0)
	io := func(commands ...string) string {
		args := []string{"-f", "raw", "-t", "none"}
		for _, c := range commands {
			args = append(args, "-c", c)
		}
		return peer(t, "qemu-io", append(args, address("disk"))...)
	}
	out := io("write -P 0x11 0 64k", "write -f -P 0x22 64k 64k", "flush", "write -z 32k 16k", "write -P 0x33 1000 3000", "discard 128k 64k",
		"read -P 0x11 4096 28k", "read -P 0 32k 16k", "read -P 0x22 64k 64k", "read -P 0x33 1000 3000", "read -P 0x11 512 488")
	if strings.Contains(out, "verification failed") || strings.Contains(out, "rror") {
		t.Errorf("qemu-io: %s", out)
	}
	if n, _ := b.supply.Deeds(); n < 6 {
		t.Errorf("%d deeds were counted", n)
	}
	// it flushes when it closes; what then is not flushed is lost
	io("write -P 0x44 256k 64k")
	if b.image[256<<10] != 0x44 {
		t.Error("what was flushed at the end is not on the medium")
	}
	b.supply.On("", 1)
	if _, err := exec.Command("qemu-io", "-f", "raw", "-t", "none", "-c", "write -P 0x55 256k 64k", address("disk")).CombinedOutput(); err != nil {
		t.Logf("a write that is cut off: %v", err) // some versions end with an error, and some only say so
	}
	if _, err := b.medium.Cut(nbd.Damage{Kind: nbd.Nothing}); err != nil {
		t.Fatal(err)
	}
	b.supply.On("", 0)
	if got := io("read -P 0x44 256k 64k"); strings.Contains(got, "verification failed") {
		t.Errorf("after the cut: %s", got)
	}
}
