package rules

import (
	"context"
	"fmt"
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
	list, err := cases.Read(f)
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
