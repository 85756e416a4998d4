package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"holdfast/actuators"
	"holdfast/agent"
	"holdfast/agent/warden"
	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/board/strict"
	"holdfast/cmd/internal/config"
)

// lastWords is what the agent asks the warden for: root alone can read what the kernel left of a crash. It is no command
// of the cloud's. Nothing is removed: that is systemd-pstore's business or the kernel's, which writes over the oldest.
func lastWords(c config.Config) actuators.Verb {
	return actuators.Verb{Name: "crash.read", Help: "answer with what the kernel left of its crashes",
		Do: func(context.Context, actuators.Args) (actuators.Result, error) {
			all, err := linux.Crashes(c.Root)
			r := actuators.Result{"crashes": all}
			if err != nil {
				r["unread"] = fmt.Sprintf("%.500s", err)
			}
			return r, nil
		}}
}

// crashed asks the warden. Its answer is read as strictly as anybody's.
func crashed(client *warden.Client) agent.Crashes {
	return func(ctx context.Context) ([]board.Crash, error) {
		r, err := client.Do(ctx, "crash.read", nil, "start")
		if err != nil {
			return nil, err
		}
		doc, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		var answer struct {
			Crashes []board.Crash `json:"crashes"`
			Unread  string        `json:"unread"`
		}
		if err := strict.Unmarshal(doc, &answer, strict.Limits{Bytes: 256 << 10}); err != nil {
			return nil, err
		}
		if answer.Unread != "" {
			err = errors.New(answer.Unread)
		}
		return answer.Crashes, err
	}
}
