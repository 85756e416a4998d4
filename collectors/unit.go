package collectors

import (
	"fmt"
	"slices"
	"strings"
)

// unitTypes are the suffixes a unit's name can have, systemd.unit(5).
var unitTypes = []string{"service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"}

// CheckUnitName returns an error unless name is one unit's full name as systemd.unit(5) has it: at most 255 bytes of
// letters, digits and ":-_.\@", and a known type. Patterns are refused, and so is what could be taken for an option.
func CheckUnitName(name string) error {
	stem, suffix, typed := "", "", false
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		stem, suffix, typed = name[:i], name[i+1:], true
	}
	strange := strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(`:-_.\@`, r)
	})
	switch {
	case len(name) > 255:
		return fmt.Errorf("unit name of %d bytes: longer than 255", len(name))
	case strange:
		return fmt.Errorf("unit name %q: only letters, digits and :-_.\\@ are allowed", name)
	case !typed || !slices.Contains(unitTypes, suffix):
		return fmt.Errorf("unit name %q: does not end in a type such as .service", name)
	case stem == "" || stem[0] == '@' || name[0] == '-' && name != "-.mount" && name != "-.slice":
		return fmt.Errorf("unit name %q: does not begin with a name", name)
	}
	return nil
}
