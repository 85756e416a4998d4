package board

// Facts is what a machine says of itself beside its identity: nothing is inferred, and what it does not say is empty. They
// are read once, when the agent starts.
type Facts struct {
	Compatible []string        `json:"compatible,omitempty"` // of the device tree, most particular first
	Revision   string          `json:"revision,omitempty"`   // a code in hexadecimal, of those boards that have one
	Profile    string          `json:"profile,omitempty"`    // the profile that matches or is named
	Verified   bool            `json:"profile_verified,omitempty"`
	Reset      Reset           `json:"reset,omitempty"`       // why it started, where that is told
	ResetWords string          `json:"reset_words,omitempty"` // the words of whatever told so, also where they have no meaning here
	Root       string          `json:"root,omitempty"`        // of the file system at /: read-only or read-write
	Watchdogs  []WatchdogFacts `json:"watchdogs,omitempty"`
}

// WatchdogFacts is one watchdog device.
type WatchdogFacts struct {
	Name           string `json:"name"`
	Identity       string `json:"identity,omitempty"` // of its driver
	Active         bool   `json:"active"`             // somebody feeds it; false also where the kernel does not say
	TimeoutSeconds int    `json:"timeout_seconds,omitempty"`
	NoWayOut       bool   `json:"nowayout,omitempty"` // nothing stops it any more
}

// PowerFacts is how the machine is fed, as of now.
type PowerFacts struct {
	Source        string // external or battery; empty where it does not say
	ChargePercent int    // of the battery that has the least; -1 where there is none
	Undervoltage  *bool  // nil where it is not told
}
