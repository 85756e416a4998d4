package board

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged means that a sealed document is not what was written.
var ErrDamaged = errors.New("checksum does not match")

// Seal returns a document whose damage shows: body, a newline, and its CRC-32C as eight hex digits and a newline. The
// body is one line.
func Seal(body []byte) []byte {
	return fmt.Appendf(bytes.Clone(body), "\n%08x\n", crc32.Checksum(body, castagnoli))
}

// Unseal returns the body of a sealed document, or ErrDamaged.
func Unseal(doc []byte) ([]byte, error) {
	body, sum, ok := bytes.Cut(doc, []byte{'\n'})
	if !ok || !bytes.Equal(sum, fmt.Appendf(nil, "%08x\n", crc32.Checksum(body, castagnoli))) {
		return nil, ErrDamaged
	}
	return body, nil
}
