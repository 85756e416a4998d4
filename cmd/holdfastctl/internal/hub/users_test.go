package hub_test

import (
	"errors"
	"strings"
	"testing"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/hub"
)

func TestPasswordsNameDevicesAndOperators(t *testing.T) {
	var file strings.Builder
	for name, password := range map[string]string{"d1": "one", "operator-ann": "two"} {
		line, err := hub.HashPassword(name, password)
		if err != nil {
			t.Fatal(err)
		}
		file.WriteString("# a comment\n\n" + line + "\n")
	}
	users, err := hub.ReadUsers([]byte(file.String()))
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, hub.Options{Listen: "127.0.0.1:0", Users: users})
	for _, o := range []client.Options{{User: "d1", Password: "two"}, {User: "d1"}, {}, {User: "d9", Password: "one"}} {
		o.Broker = h.Plain
		if c, err := client.Dial(t.Context(), o); !errors.Is(err, client.ErrDenied) {
			t.Errorf("%+v: %v", o, err)
			c.Close()
		}
	}
	device := dial(t, client.Options{Broker: h.Plain, User: "d1", Password: "one"})
	if err := device.Subscribe(t.Context(), "holdfast/d2/command"); !errors.Is(err, client.ErrDenied) {
		t.Errorf("d1 reads d2: %v", err)
	}
	subscribe(t, dial(t, client.Options{Broker: h.Plain, User: "operator-ann", Password: "two"}), "#")
}

func FuzzReadUsers(f *testing.F) {
	line, _ := hub.HashPassword("d1", "x")
	f.Add([]byte(line))
	f.Add([]byte("# c\nd1:pbkdf2-sha256:60000:AAAAAAAAAAAAAAAA:" + strings.Repeat("A", 43)))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := hub.ReadUsers(b)
		for name := range u {
			if err == nil && !hub.ValidDevice(name) {
				t.Errorf("name %q", name)
			}
		}
	})
}
