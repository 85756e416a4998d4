package collectors_test

import (
	"strings"
	"testing"

	"holdfast/collectors"
)

func TestCheckUnitName(t *testing.T) {
	for name, good := range map[string]bool{
		"ssh.service": true, "getty@tty1.service": true, `dev-disk-by\x2duuid-1.swap`: true, "-.mount": true, "a.b.timer": true,
		strings.Repeat("a", 247) + ".service": true, strings.Repeat("a", 248) + ".service": false,
		"": false, "ssh": false, ".service": false, "ssh.": false, "ssh.exe": false, "--user.service": false, "-u.service": false,
		"*.service": false, "a b.service": false, "a/b.service": false, "a\n.service": false, "ä.service": false, "@a.service": false,
		"a\x00.service": false, "a;reboot.service": false, "[a-z].service": false, "ssh.SERVICE": false,
	} {
		if err := collectors.CheckUnitName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}
