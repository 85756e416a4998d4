//go:build cgo

package delta

import (
	"crypto/sha256"
	"io"

	"github.com/icedream/go-bsdiff/patch"
)

const haveIcedream = true

// icedreamSum is the SHA-256 of what icedream/go-bsdiff makes of a patch. Call askIcedream before.
func icedreamSum(old, diff io.Reader) (sum [32]byte, err error) {
	h := sha256.New()
	err = patch.Patch(old, h, diff)
	h.Sum(sum[:0])
	return sum, err
}
