// Package nbd is a network block device over a medium that loses power: what was written since the last flush is held in
// a cache as disks have one, and a cut leaves some of it on the medium, in any order, and torn. It speaks the fixed
// newstyle negotiation and simple replies of the NBD project's protocol document (doc/proto.md), which QEMU, libnbd and
// Linux's nbd-client speak.
package nbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Magic numbers, options, replies, flags and commands of the protocol document.
const (
	magicServer  = 0x4e42444d41474943 // NBDMAGIC
	magicOption  = 0x49484156454f5054 // IHAVEOPT
	magicAnswer  = 0x0003e889045565a9
	magicRequest = 0x25609513
	magicReply   = 0x67446698

	flagFixedNewstyle = 1 << 0 // of the handshake; the client's have the same values
	flagNoZeroes      = 1 << 1

	optExportName = 1
	optAbort      = 2
	optList       = 3
	optInfo       = 6
	optGo         = 7

	repAck        = 1
	repServer     = 2
	repInfo       = 3
	repErrUnsup   = 1<<31 + 1
	repErrInvalid = 1<<31 + 3
	repErrUnknown = 1<<31 + 6
	repErrTooBig  = 1<<31 + 9

	infoExport    = 0
	infoBlockSize = 3

	exportHasFlags    = 1 << 0
	exportReadOnly    = 1 << 1
	exportFlush       = 1 << 2
	exportFUA         = 1 << 3
	exportTrim        = 1 << 5
	exportWriteZeroes = 1 << 6

	flagFUA    = 1 << 0
	flagNoHole = 1 << 1 // of write zeroes: what becomes of the space is nothing to us
)

// A Command is what a request asks for.
type Command uint16

// The commands that are known.
const (
	Read        Command = 0
	Write       Command = 1
	disconnect  Command = 2
	Flush       Command = 3
	Trim        Command = 4
	WriteZeroes Command = 6
)

// String returns the command's name.
func (c Command) String() string {
	switch c {
	case Read:
		return "read"
	case Write:
		return "write"
	case disconnect:
		return "disconnect"
	case Flush:
		return "flush"
	case Trim:
		return "trim"
	case WriteZeroes:
		return "write zeroes"
	}
	return fmt.Sprintf("command %d", uint16(c))
}

// Error numbers of replies.
const (
	errPermission  = 1
	errIO          = 5
	errInvalid     = 22
	errNoSpace     = 28
	errUnsupported = 95
	errShutdown    = 108
)

// Bounds of what a client may send.
const (
	optionBytes  = 4096     // an option's data; names have at most 4096 bytes, we know but a few
	mostOptions  = 64       // in one negotiation
	payloadBytes = 32 << 20 // of a read or a write, as the document recommends
	requestBytes = 28
	sectorBytes  = 512
)

// errWire is what a client said that is not the protocol: the connection is of no use any more.
var errWire = errors.New("not the protocol")

// A Request is what a client asks for.
type Request struct {
	Command Command
	FUA     bool // it is answered when it is on the medium itself
	Offset  int64
	Bytes   int64
	cookie  uint64
	flags   uint16
}

// parseRequest reads the 28 bytes before a payload. Whether what is asked for can be had is for check.
func parseRequest(b []byte) (Request, error) {
	if len(b) < requestBytes {
		return Request{}, io.ErrUnexpectedEOF
	}
	if m := binary.BigEndian.Uint32(b); m != magicRequest {
		return Request{}, fmt.Errorf("request with magic %#x: %w", m, errWire)
	}
	r := Request{flags: binary.BigEndian.Uint16(b[4:]), Command: Command(binary.BigEndian.Uint16(b[6:])),
		cookie: binary.BigEndian.Uint64(b[8:]), Bytes: int64(binary.BigEndian.Uint32(b[24:]))}
	r.FUA = r.flags&flagFUA != 0
	if at := binary.BigEndian.Uint64(b[16:]); at < 1<<62 {
		r.Offset = int64(at)
	} else {
		r.Offset = 1 << 62 // beyond every medium
	}
	// The payload of a write follows in any case. One that is too long cannot be skipped without reading it all.
	if r.Command == Write && r.Bytes > payloadBytes {
		return r, fmt.Errorf("write of %d bytes: %w", r.Bytes, errWire)
	}
	return r, nil
}

// check returns the error number of a request that is refused, 0 for one that may be done.
func (r Request) check(size int64, readOnly bool) uint32 {
	past := r.Offset > size || r.Bytes > size-r.Offset
	odd := r.Offset%sectorBytes != 0 || r.Bytes%sectorBytes != 0
	switch r.Command {
	case Read:
		if past || odd || r.Bytes > payloadBytes || r.flags&^flagFUA != 0 {
			return errInvalid
		}
	case Write, Trim, WriteZeroes:
		switch {
		case readOnly:
			return errPermission
		case past:
			return errNoSpace
		case odd, r.flags&^(flagFUA|flagNoHole) != 0, r.flags&flagNoHole != 0 && r.Command != WriteZeroes:
			return errInvalid
		}
	case Flush:
		if r.flags != 0 {
			return errInvalid
		}
	default:
		return errUnsupported
	}
	return 0
}

// An option is one step of the negotiation.
type option struct {
	kind uint32
	data []byte
}

// readOption reads one. Of one that is too long the data are skipped.
func readOption(r io.Reader) (o option, tooBig bool, err error) {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return o, false, err
	}
	if m := binary.BigEndian.Uint64(head[:]); m != magicOption {
		return o, false, fmt.Errorf("option with magic %#x: %w", m, errWire)
	}
	o.kind = binary.BigEndian.Uint32(head[8:])
	n := binary.BigEndian.Uint32(head[12:])
	if n > 1<<20 {
		return o, true, fmt.Errorf("option of %d bytes: %w", n, errWire)
	}
	if n > optionBytes {
		_, err := io.CopyN(io.Discard, r, int64(n))
		return o, true, err
	}
	o.data = make([]byte, n)
	_, err = io.ReadFull(r, o.data)
	return o, false, err
}

// wanted reads what info and go carry: the export's name, and the kinds of information asked for.
func (o option) wanted() (name string, blockSize bool, err error) {
	bad := fmt.Errorf("option %d: its lengths do not add up", o.kind)
	if len(o.data) < 6 {
		return "", false, bad
	}
	n := binary.BigEndian.Uint32(o.data)
	rest := o.data[4:]
	if uint64(n)+2 > uint64(len(rest)) {
		return "", false, bad
	}
	name, rest = string(rest[:n]), rest[n:]
	kinds := int(binary.BigEndian.Uint16(rest))
	if rest = rest[2:]; len(rest) != 2*kinds {
		return "", false, bad
	}
	for ; len(rest) > 0; rest = rest[2:] {
		blockSize = blockSize || binary.BigEndian.Uint16(rest) == infoBlockSize
	}
	return name, blockSize, nil
}
