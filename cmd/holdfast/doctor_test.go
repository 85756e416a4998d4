package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdfast/agent/link/linktest"
	"holdfast/cmd/internal/doctor"
)

func TestDoctorsExitCodes(t *testing.T) {
	t.Parallel()
	s := linktest.Mochi(t, linktest.Config{})
	bad := filepath.Join(t.TempDir(), "bad.toml")
	if err := os.WriteFile(bad, []byte("idd = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		exit int
		text string
	}{
		{"all is well", []string{"--broker", s.URL(s.Addr)}, exitDone, "an event was acknowledged and passed on"},
		{"broker is not there", []string{"--broker", "mqtt://127.0.0.1:1"}, exitFailed, "FAIL  tcp"},
		{"configuration is wrong", []string{"--config", bad}, exitUsage, `did you mean "id"?`},
		{"flag is wrong", []string{"--brooker", "x"}, exitUsage, "hint: holdfast doctor --help"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			exit := dispatch(t.Context(), append([]string{"doctor", "--id", "gate-17", "--state", t.TempDir()}, tt.args...), streams{&out, &out})
			if exit != tt.exit || !strings.Contains(out.String(), tt.text) {
				t.Errorf("exit code %d, want %d, with %q in:\n%s", exit, tt.exit, tt.text, &out)
			}
		})
	}
}

func TestDoctorSpeaksJSON(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	exit := dispatch(t.Context(), []string{"doctor", "--json", "--id", "gate-17", "--state", t.TempDir(), "--broker", "mqtt://127.0.0.1:1"}, streams{&out, &errs})
	var r doctor.Report
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || d.More() || errs.Len() > 0 {
		t.Fatalf("%v, more %t, stderr %q", err, d.More(), &errs)
	}
	if exit != exitFailed || r.OK || r.Device != "gate-17" || r.Count[doctor.Fail] != 1 {
		t.Errorf("exit code %d, %+v", exit, r)
	}
}
