package doctor_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"holdfast/agent/lines"
	"holdfast/agent/warden"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/doctor"
)

// levels answers for the lines.
func levels(s lines.Standing, err error) func(context.Context) (lines.Standing, error) {
	return func(context.Context) (lines.Standing, error) { return s, err }
}

func TestTheDoctorAsksForTheLines(t *testing.T) {
	well := map[string]lines.Level{"pump": {Output: true}, "door": {High: true}}
	for _, tt := range []struct {
		name    string
		change  func(*doctor.Options)
		outcome doctor.Outcome
		words   string
	}{
		{"well", func(o *doctor.Options) { o.Levels = levels(lines.Standing{Lines: well}, nil) }, doctor.OK, "1 outputs, 1 inputs"},
		{"away", func(o *doctor.Options) { o.Levels = nil }, doctor.Fail, "enable --now holdfast-lines.socket"},
		{"away without systemd", func(o *doctor.Options) {
			o.Levels = nil
			os.RemoveAll(o.Config.Root + "/run")
		}, doctor.Skipped, "--single"},
		{"knows us not", func(o *doctor.Options) { o.Levels = levels(lines.Standing{}, warden.ErrStranger) }, doctor.Skipped, "needs root"},
		{"mute", func(o *doctor.Options) { o.Levels = levels(lines.Standing{}, errors.New("i/o timeout")) }, doctor.Fail, "journalctl -u holdfast-lines"},
		{"a line is busy", func(o *doctor.Options) {
			o.Levels = levels(lines.Standing{Lines: map[string]lines.Level{"pump": {Output: true}, "door": {Error: "busy: held by spi0 CS1"}}}, nil)
		}, doctor.Fail, "door: busy: held by spi0 CS1"},
		{"an older configuration", func(o *doctor.Options) {
			o.Levels = levels(lines.Standing{Lines: map[string]lines.Level{"pump": {}}}, nil)
		}, doctor.Warn, "systemctl restart holdfast-lines.service"},
		{"no agent", func(o *doctor.Options) {
			o.Levels = levels(lines.Standing{Lines: well, Silent: true, Seconds: 75}, nil)
		}, doctor.Warn, "for 1m15s"},
		{"inputs alone, which want no beat", func(o *doctor.Options) {
			o.Config.Lines = map[string]config.Line{"door": {Driver: "sim"}}
			o.Levels = levels(lines.Standing{Lines: map[string]lines.Level{"door": {}}, Silent: true, Seconds: 75}, nil)
		}, doctor.OK, "0 outputs, 1 inputs"},
	} {
		o := healthy(t)
		o.Config.Lines = map[string]config.Line{"pump": {Driver: "sim", Output: true}, "door": {Driver: "sim"}}
		tt.change(&o)
		c := find(t, doctor.Run(t.Context(), o), "lines")
		t.Run(tt.name, func(t *testing.T) { expect(t, c, tt.outcome, tt.words) })
	}
	if r := doctor.Run(t.Context(), healthy(t)); slices.ContainsFunc(r.Checks, func(c doctor.Check) bool { return c.Name == "lines" }) {
		t.Error("lines are looked at where none are configured")
	}
}
