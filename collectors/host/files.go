package host

import (
	"context"

	"holdfast/collectors"
)

// Files measures how many files the machine has open, of those it may.
type Files struct {
	Root string // empty is "/"

	r reader
}

// Name is "files".
func (*Files) Name() string { return "files" }

// Collect emits one sample. Newer systems allow 2^63-1 files, of which any number is a ratio of 0.
func (f *Files) Collect(_ context.Context, emit collectors.Emit) error {
	path := f.Root + "/proc/sys/fs/file-nr"
	b, err := f.r.read(path, smallBytes)
	if err != nil {
		return err
	}
	var n [3]uint64 // allocated, allocated but unused (0 since Linux 2.6), most (proc_sys_fs(5))
	if !wholes(b, n[:]) || n[1] > n[0] {
		return odd(path, b)
	}
	open := float64(n[0] - n[1])
	s := fieldsOf("files", "", 2)
	s.Num("open_count", open).Num("open_ratio", ratio(open, float64(n[2])))
	emit(s)
	return nil
}
