package units

import "holdfast/collectors"

// Measures returns what the source's fields mean.
func Measures() []collectors.Measure {
	return collectors.Describe("units", "name of the unit", [][3]string{
		{"active", "truth", "the unit does its work: it is active, reloading or refreshing"},
		{"state", "text", "active state and sub-state as systemctl shows them, such as active/running, or not-found"},
		{"restarts_count", "count", "restarts by systemd itself since the unit was last started by hand; left out for what is not a service"},
		{"since_seconds", "s", "time since the state changed; left out when it never has since boot"},
		{"memory_bytes", "bytes", "memory of its control group, with the files it has in the cache; left out when it does not run, as the two below"},
		{"tasks_count", "count", "processes and threads of its control group"},
		{"cpu_seconds", "s", "processor time of its control group since the unit was started"},
	})
}
