package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheManualPageNamesEveryCommandAndFlag(t *testing.T) {
	page, err := os.ReadFile("../../packaging/holdfast.8")
	if err != nil {
		t.Fatal(err)
	}
	flag := regexp.MustCompile(`(?m)^  -([a-z-]+)`)
	for _, c := range commands() {
		if !strings.Contains(string(page), "\n.B "+c.name+"\n") {
			t.Errorf("packaging/holdfast.8 does not name the command %s", c.name)
		}
		var help, errs bytes.Buffer
		if code := dispatch(context.Background(), []string{c.name, "--help"}, streams{&help, &errs}); code != exitDone {
			t.Errorf("holdfast %s --help ends with %d: %s", c.name, code, &errs)
		}
		for _, m := range flag.FindAllStringSubmatch(help.String(), -1) {
			if !strings.Contains(string(page), `\-\-`+strings.ReplaceAll(m[1], "-", `\-`)) {
				t.Errorf("packaging/holdfast.8 does not name the flag --%s of %s", m[1], c.name)
			}
		}
	}
}
