package host

import (
	"slices"

	"holdfast/collectors"
)

// Measures returns every field of every source of this package, as docs/measures.md lists them.
func Measures() []collectors.Measure {
	return slices.Concat(
		collectors.Describe("cpu", inCPU, [][3]string{
			{"busy_ratio", "ratio", "time not idle and not waiting for a disk, since the last round"},
			{"user_ratio", "ratio", "time in programs, niced ones and guests included"},
			{"system_ratio", "ratio", "time in the kernel, interrupts included"},
			{"iowait_ratio", "ratio", "time idle while a task waited for a disk"},
			{"steal_ratio", "ratio", "time the hypervisor gave to others; part of busy"},
			{"count", "count", "cores that are switched on; not with a core"},
		}),
		collectors.Describe("load", "", [][3]string{
			{"load1", "count", "tasks that ran or wanted to, or waited for a disk: mean of one minute"},
			{"load5", "count", "the same, of five minutes"},
			{"load15", "count", "the same, of fifteen minutes"},
			{"runnable_count", "count", "tasks that can run at this instant, the agent among them"},
		}),
		collectors.Describe("memory", "", [][3]string{
			{"total_bytes", "bytes", "memory the kernel manages"},
			{"available_bytes", "bytes", "what programs could have without swapping, as the kernel reckons"},
			{"used_ratio", "ratio", "1 - available/total"},
			{"swap_total_bytes", "bytes", "swap space; 0 without any"},
			{"swap_used_bytes", "bytes", "swap space in use"},
			{"pressure_some_ratio", "ratio", "part of the last 10 s in which some task waited for memory; left out without PSI"},
			{"pressure_full_ratio", "ratio", "part of the last 10 s in which all tasks waited for memory; left out without PSI"},
		}),
		collectors.Describe("pressure", inPressure, [][3]string{
			{"some_ratio", "ratio", "part of the last 10 s in which some task waited"},
			{"full_ratio", "ratio", "part of the last 10 s in which all tasks waited; 0 for cpu before Linux 5.13"},
		}),
		collectors.Describe("disk", inDisk, [][3]string{
			{"total_bytes", "bytes", "size of the file system"},
			{"free_bytes", "bytes", "what programs other than root's can still write"},
			{"used_ratio", "ratio", "used/(used+free), as df shows it"},
			{"inodes_total", "count", "files it can hold; left out where there is no such limit"},
			{"inodes_used_ratio", "ratio", "part of them in use; left out with it"},
			{"read_only", "truth", "the file system takes no writes, from the start or after an error"},
			{"mounted", "truth", "something is mounted there; if not, this is the only field"},
		}),
		collectors.Describe("disk_io", inDiskIO, [][3]string{
			{"read_bytes_per_second", "B/s", "read from the disk, since the last round"},
			{"write_bytes_per_second", "B/s", "written to it"},
			{"reads_per_second", "1/s", "reads completed"},
			{"writes_per_second", "1/s", "writes completed"},
			{"busy_ratio", "ratio", "time with a request under way"},
			{"await_seconds", "s", "mean time of a request, queue included; 0 without any"},
		}),
		collectors.Describe("network", inNetwork, [][3]string{
			{"rx_bytes_per_second", "B/s", "received, since the last round; no rates in the round after counters were reset"},
			{"tx_bytes_per_second", "B/s", "sent"},
			{"rx_packets_per_second", "1/s", "packets received"},
			{"tx_packets_per_second", "1/s", "packets sent"},
			{"rx_errors_per_second", "1/s", "packets that arrived broken"},
			{"tx_errors_per_second", "1/s", "packets that could not be sent"},
			{"rx_drops_per_second", "1/s", "good packets thrown away on the way in, for want of room or use"},
			{"tx_drops_per_second", "1/s", "packets thrown away on the way out"},
			{"carrier", "truth", "the interface is up and there is a link"},
			{"speed_bits_per_second", "bit/s", "speed of the link; left out without a link and where the driver does not know"},
		}),
		collectors.Describe("processes", "", [][3]string{
			{"total_count", "count", "processes of the whole machine, zombies and kernel threads included"},
			{"running_count", "count", "tasks that run or want to"},
			{"blocked_count", "count", "tasks that wait for a disk"},
			{"threads_count", "count", "tasks of the whole machine"},
			{"forks_per_second", "1/s", "processes and threads made, since the last round"},
		}),
		collectors.Describe("files", "", [][3]string{
			{"open_count", "count", "open files of the whole machine"},
			{"open_ratio", "ratio", "part of fs.file-max"},
		}),
		collectors.Describe("uptime", "", [][3]string{
			{"uptime_seconds", "s", "since the kernel started"},
			{"boot_id", "text", "UUID of this boot; in the first sample only"},
		}),
		collectors.Describe("clock", "", [][3]string{
			{"synchronised", "truth", "something such as NTP keeps the wall clock right"},
			{"offset_seconds", "s", "what the kernel is still to correct"},
			{"max_error_seconds", "s", "bound of the error, growing while nobody corrects"},
		}),
		collectors.Describe("self", "", [][3]string{
			{"rss_bytes", "bytes", "resident memory of the agent"},
			{"cpu_seconds", "s", "processor time of the agent since its start"},
			{"goroutines_count", "count", "goroutines of the agent"},
			{"descriptors_count", "count", "files the agent has open"},
			{"spool_bytes", "bytes", "records that wait to be sent"},
			{"records_waiting_count", "count", "records that wait to be sent, or for the broker's acknowledgement"},
			{"records_dropped_count", "count", "records given up since the start"},
			{"reconnects_count", "count", "connections to the cloud made anew since the start"},
		}),
	)
}

const (
	inCPU      = "none for the whole, `cpu0` and so on for a core"
	inPressure = "`cpu` or `io`; that of memory is in the memory source"
	inDisk     = "the mount point"
	inDiskIO   = "the device: whole disks, without loop, ram, zram and the boot areas of eMMC unless asked for"
	inNetwork  = "the interface: without lo, veth and the like unless asked for"
)
