package linktest_test

import (
	"errors"
	"testing"
	"time"

	"holdfast/agent/link"
	"holdfast/agent/link/linktest"
)

func TestMemoryConnKeepsTheContract(t *testing.T) {
	linktest.TestConn(t, func(t *testing.T) linktest.Harness {
		b := linktest.NewBroker()
		b.Retry = 5 * time.Millisecond
		b.Refuse(func(_ link.Session, user, password string) error {
			if user != "dev" || password != "secret" {
				return errors.New("connection refused: not authorised (code 5)")
			}
			return nil
		})
		b.Deny(func(_, topic string, write bool) bool { return !write && topic == "secret/#" })
		return linktest.Harness{
			Open: func(s link.Session) link.Conn { return b.Conn(s) },
			Say:  b.Publish,
			Heard: func() (heard []link.Message) {
				for _, p := range b.Heard() {
					heard = append(heard, p.Message)
				}
				return heard
			},
			Next: b.Next,
			Cut:  func() { b.Cut("") },
			Offline: func(on bool) {
				if on {
					b.Down()
				} else {
					b.Up()
				}
			},
			User: "dev", Password: "secret", Denied: "secret/#",
		}
	})
}
