//go:build cgo

package bsdiff_test

import (
	"bytes"
	"testing"

	"github.com/icedream/go-bsdiff/diff"
	"github.com/icedream/go-bsdiff/patch"

	"holdfast/update/bsdiff"
)

func TestIcedreamAppliesOurs(t *testing.T) {
	for _, p := range pairs() {
		if len(p.old) == 0 || len(p.neu) == 0 {
			continue // it takes the address of the first byte of either, and panics
		}
		o := small
		o.Codec = bsdiff.Bzip2
		_, ours := create(t, p, o)
		var got bytes.Buffer
		if err := patch.Patch(bytes.NewReader(p.old), &got, bytes.NewReader(ours)); err != nil || !bytes.Equal(got.Bytes(), p.neu) {
			t.Errorf("%s: %v, %d bytes", p.name, err, got.Len())
		}
	}
}

func TestWeApplyIcedreams(t *testing.T) {
	for _, p := range pairs() {
		if len(p.old) == 0 || len(p.neu) == 0 {
			continue
		}
		var theirs bytes.Buffer
		if err := diff.Diff(bytes.NewReader(p.old), bytes.NewReader(p.neu), &theirs); err != nil {
			t.Fatal(err)
		}
		if got, err := applyForeign(p.old, theirs.Bytes()); err != nil || !bytes.Equal(got, p.neu) {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}
