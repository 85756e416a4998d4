package loaders_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"holdfast/board/loaders"
)

func TestACopyOfTheEnvironmentComesBack(t *testing.T) {
	want := vars(order("A B", "3", "2") + "|bootargs=console=ttyS0 root=/dev/mmcblk0p2")
	raw, err := loaders.Encode(want, 7, 512)
	if err != nil || len(raw) != 512 {
		t.Fatalf("Encode: %d bytes, %v", len(raw), err)
	}
	got, flag, err := loaders.Decode(raw)
	if err != nil || flag != 7 || !maps.Equal(got, want) {
		t.Errorf("Decode = %v, %d, %v, want %v", got, flag, err, want)
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 0x10
		if _, flag, err := loaders.Decode(bad); err == nil && (i != 4 || flag == 7) {
			t.Errorf("byte %d changed: no error", i)
		}
	}
	for _, v := range []loaders.Vars{{"": "1"}, {"a=b": "1"}, {"a": "\x00"}, {"a": string(make([]byte, 512))}} {
		if _, err := loaders.Encode(v, 0, 512); err == nil {
			t.Errorf("%.20q was encoded", v)
		}
	}
	if _, err := loaders.Encode(want, 0, 64); err == nil {
		t.Error("more was encoded than fits")
	}
}

func TestTheNewerCopyIsInForce(t *testing.T) {
	for _, tt := range []struct {
		flag0, flag1 byte
		want         int
	}{{1, 2, 1}, {2, 1, 0}, {5, 5, 0}, {255, 0, 1}, {0, 255, 0}, {254, 255, 1}} {
		if got := loaders.Newer(tt.flag0, tt.flag1); got != tt.want {
			t.Errorf("flags %d and %d: copy %d, want %d", tt.flag0, tt.flag1, got, tt.want)
		}
	}
}

// TestTheEnvironmentIsTheOneOfTheTools has fw_setenv and fw_printenv read what Encode wrote, and the other way round.
func TestTheEnvironmentIsTheOneOfTheTools(t *testing.T) {
	for _, tool := range []string{"fw_setenv", "fw_printenv"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not here: install libubootenv-tool", tool)
		}
	}
	const size = 4096
	dir := t.TempDir()
	env, config := filepath.Join(dir, "env"), filepath.Join(dir, "fw_env.config")
	lines := fmt.Sprintf("%s 0 %#x\n%s %#x %#x\n", env, size, env, size, size)
	if err := os.WriteFile(config, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(tool string, args ...string) string {
		t.Helper()
		out, err := exec.Command(tool, append([]string{"-c", config}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %s%v", tool, args, out, err)
		}
		return string(out)
	}
	for _, flags := range [][2]byte{{1, 2}, {2, 1}, {255, 0}, {0, 255}, {9, 9}} {
		var raw []byte
		for i, flag := range flags {
			b, err := loaders.Encode(loaders.Vars{"which": fmt.Sprint(i)}, flag, size)
			if err != nil {
				t.Fatal(err)
			}
			raw = append(raw, b...)
		}
		if err := os.WriteFile(env, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		newer := loaders.Newer(flags[0], flags[1])
		if got := run("fw_printenv", "-n", "which"); got != fmt.Sprintf("%d\n", newer) {
			t.Errorf("flags %v: fw_printenv takes copy %q, want %d", flags, got, newer)
		}
		run("fw_setenv", "note", "a b=c")
		raw, err := os.ReadFile(env)
		if err != nil {
			t.Fatal(err)
		}
		written := 1 - newer
		got, flag, err := loaders.Decode(raw[written*size:][:size])
		if err != nil || flag != flags[newer]+1 || !maps.Equal(got, loaders.Vars{"which": fmt.Sprint(newer), "note": "a b=c"}) {
			t.Errorf("flags %v: fw_setenv wrote %v with flag %d, %v", flags, got, flag, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	raw, err := loaders.Encode(vars(order("A B", "3", "2")), 1, 128)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:60])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 5 { // else nothing would get past the checksum
			binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[5:]))
		}
		v, flag, err := loaders.Decode(b)
		if err != nil {
			return
		}
		again, err := loaders.Encode(v, flag, max(len(b), 16))
		if err != nil {
			return // a copy without room for its end is read all the same
		}
		if got, _, err := loaders.Decode(again); err != nil || len(got) > len(v) {
			t.Fatalf("%v became %v, %v", v, got, err)
		}
	})
}
