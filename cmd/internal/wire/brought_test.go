package wire_test

import (
	"testing"
	"time"

	"holdfast/agent"
	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// Whatever a job brings along: there is a repository or an error, and nothing else.
func FuzzInlineMetadata(f *testing.F) {
	f.Add([]byte(`{"payload":"https://updates.example.com/pump/","files":{"metadata/timestamp.json":{"signed":{}}}}`))
	f.Add([]byte(`{"payload":"/mnt/stick","files":{}}`))
	f.Add([]byte(`{"payload":"https://other.example.com/","files":{"a":1,"a":2}}`))
	c := config.Default()
	c.Update.Repositories = []string{"https://updates.example.com/pump/"}
	open := wire.Repositories(c, &linux.Clock{}, time.Time{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := open(&agent.UpdateJob{ID: "j", Repository: "inline", Metadata: raw})
		if (r == nil) == (err == nil) {
			t.Fatalf("%v and %v", r, err)
		}
	})
}
