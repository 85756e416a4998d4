package script_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast/actuators/script"
	"holdfast/board/boardtest"
)

func TestAllRunInTheOrderOfTheirNamesUntilOneDoesNotSucceed(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	_, dir := installed(t, script.Options{}, map[string]string{
		"10-first":  "echo first $1 $RELEASE >>" + seen,
		"20-second": "echo second >>" + seen + "; [ $1 = good ] || { echo noise; echo the pump is dry; exit 4; }",
		"30-third":  "echo third >>" + seen,
	})
	o := script.Options{Dir: dir, Owner: os.Getuid(), Clock: boardtest.Clock{}, Env: []string{"RELEASE=pump/2"}}
	if err := script.All(t.Context(), o, "good"); err != nil {
		t.Errorf("all succeed: %v", err)
	}
	err := script.All(t.Context(), o, "bad")
	if err == nil || !strings.Contains(err.Error(), "20-second: exit status 4: the pump is dry") {
		t.Errorf("the second does not succeed: %v", err)
	}
	text, _ := os.ReadFile(seen)
	if got, want := string(text), "first good pump/2\nsecond\nthird\nfirst bad pump/2\nsecond\n"; got != want {
		t.Errorf("ran %q, want %q", got, want)
	}
	if err := script.All(t.Context(), script.Options{Dir: filepath.Join(dir, "none"), Clock: boardtest.Clock{}}); err != nil {
		t.Errorf("no directory: %v", err)
	}
}

func TestAScriptThatHangsIsEndedAndNamed(t *testing.T) {
	_, dir := installed(t, script.Options{}, map[string]string{"slow": "sleep 60 & sleep 60"})
	err := script.All(t.Context(), script.Options{Dir: dir, Owner: os.Getuid(), Clock: boardtest.Clock{}, Limit: 50 * time.Millisecond, Grace: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "slow: stopped at its time limit") {
		t.Errorf("error = %v", err)
	}
}
