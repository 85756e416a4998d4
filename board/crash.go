package board

import "time"

// A Crash is what the kernel left of its end: the end of its log, kept over a restart by ramoops, EFI or ERST.
type Crash struct {
	ID      string    `json:"id"`               // of its whole content, 16 hex digits: it stays when the file is moved
	Name    string    `json:"name"`             // of the file, below the directory it is in
	Written time.Time `json:"written,omitzero"` // by the wall clock of then, which may not have been set
	Reason  string    `json:"reason,omitempty"` // in the kernel's words: Panic, Oops, Emergency, …
	Bytes   int64     `json:"bytes"`            // of the file
	Tail    string    `json:"tail"`             // its end, of which Bytes may have more
}
