package rules

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"

	"holdfast/remediate/epl/cases"
)

// Replay replays the cases of a file, which may be compressed by gzip, and hands on how each that disagrees does.
func Replay(ctx context.Context, path string, failed func(id, why string)) (agree, all int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	head := make([]byte, 2)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	var r io.Reader = io.MultiReader(bytes.NewReader(head[:n]), f)
	if n == 2 && head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(r)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", path, err)
		}
		r = z
	}
	list, err := cases.Read(r)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", path, err)
	}
	for i := range list {
		if err := ctx.Err(); err != nil {
			return agree, i, err
		}
		if why := check(&list[i]); why != "" {
			failed(list[i].ID, why)
			continue
		}
		agree++
	}
	return agree, len(list), nil
}

// check replays one case. A case comes from outside: what the engine makes of it must not end the others.
func check(c *cases.Case) (why string) {
	defer func() {
		if v := recover(); v != nil {
			why = fmt.Sprintf("panic: %v", v)
		}
	}()
	return c.Check()
}
