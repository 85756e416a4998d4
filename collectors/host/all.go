package host

import (
	"time"

	"golang.org/x/sys/unix"

	"holdfast/collectors"
)

// Options say what All measures. The zero value measures the running machine.
type Options struct {
	Root       string                                      // directory below which proc and sys lie; empty is "/"
	Now        func() time.Time                            // monotonic time, for rates; nil is time.Now
	PerCore    bool                                        // the cpu source also speaks of each core
	Mounts     []string                                    // mount points of the disk source; nil is "/"
	Disks      Filter                                      // devices of the disk_io source; zero is DefaultDisks
	Interfaces Filter                                      // interfaces of the network source; zero is DefaultInterfaces
	Statfs     func(path string, st *unix.Statfs_t) error  // nil is unix.Statfs
	Adjtimex   func(tx *unix.Timex) (state int, err error) // nil is unix.Adjtimex
	Self       func() []collectors.Field                   // added to the self source: spool_bytes, reconnects_count; may be nil
}

// All returns every source of this package, always in the same order.
func All(o Options) []collectors.Source {
	return []collectors.Source{
		&CPU{Root: o.Root, PerCore: o.PerCore},
		&Load{Root: o.Root},
		&Memory{Root: o.Root},
		&Pressure{Root: o.Root},
		&Disk{Root: o.Root, Mounts: o.Mounts, Statfs: o.Statfs},
		&DiskIO{Root: o.Root, Devices: o.Disks, Now: o.Now},
		&Network{Root: o.Root, Interfaces: o.Interfaces, Now: o.Now},
		&Processes{Root: o.Root, Now: o.Now},
		&Files{Root: o.Root},
		&Uptime{Root: o.Root},
		&Clock{Adjtimex: o.Adjtimex},
		&Self{More: o.Self},
	}
}
