package host_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"holdfast/collectors"
	"holdfast/collectors/host"
)

func TestNetworkCountersThatWrapOrReset(t *testing.T) {
	const none = "network eth0: carrier=true speed_bits_per_second=1e+09\n"
	for _, tt := range []struct {
		name          string
		before, after string // rx bytes, packets
		want          string // rx rates a second, over 10 s
	}{
		{"grows", "1000 10", "2000 20", "100 1"},
		{"stands", "1000 10", "1000 10", "0 0"},
		{"wraps at 32 bits", "4294967286 4294967290", "10 4", "2 1"},
		{"passes 32 bits as 64", "4294967286 10", "4294967306 20", "2 1"},
		{"reset from low", "5000 50", "10 1", ""},
		{"reset from high, told by the packets", "4294967000 5000", "100 3", ""},
		{"reset beyond 32 bits", "99999999999 5000", "100 5001", ""},
	} {
		root, clock := rootOf(t), newTicker()
		n := &host.Network{Root: root, Now: clock.now, Interfaces: host.Filter{Include: []string{"eth*"}}}
		for i, counters := range []string{tt.before, tt.after} {
			write(t, root, "proc/net/dev", fmt.Sprintf("a\nb\n eth0: %s 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", counters))
			samples := take(t, n)
			switch {
			case i == 0 || tt.want == "":
				expect(t, tt.name, samples, none)
			default:
				rx, _ := samples[0].Field("rx_bytes_per_second")
				packets, _ := samples[0].Field("rx_packets_per_second")
				b, _ := rx.Number()
				p, _ := packets.Number()
				if got := fmt.Sprint(b, p); got != tt.want {
					t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
				}
			}
			clock.pass(10 * time.Second)
		}
	}
}

// A device that was away for a round begins anew: nobody knows what happened to its counters meanwhile.
func TestADeviceThatComesBackBeginsAnew(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	line := func(n int) string { return fmt.Sprintf("8 0 sda %d 0 0 0 0 0 0 0 0 0 0\n", n) }
	d := &host.DiskIO{Root: root, Now: clock.now}
	for i, tt := range []struct {
		text string
		want int
	}{{line(0), 0}, {line(10), 1}, {"", 0}, {line(30), 0}, {line(50), 1}, {line(5), 0}, {line(25), 1}} {
		write(t, root, "proc/diskstats", tt.text)
		samples := take(t, d)
		if len(samples) != tt.want {
			t.Errorf("round %d: %s, want %d", i, show(samples), tt.want)
		}
		if len(samples) == 1 {
			if v, _ := samples[0].Field("reads_per_second"); v != collectors.Number(float64(map[int]int{1: 1, 4: 2, 6: 2}[i])) {
				t.Errorf("round %d: %s", i, show(samples))
			}
		}
		clock.pass(10 * time.Second)
	}
}

func TestRatesWantTimeToPass(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	for _, s := range host.All(host.Options{Root: root, Now: clock.now, Statfs: statfs}) {
		if _, err := try(s); err != nil {
			t.Fatal(err)
		}
		samples := take(t, s) // at the same instant
		if strings.Contains(strings.ReplaceAll(show(samples), "speed_bits_per_second", ""), "per_second=") {
			t.Errorf("%s: %s", s.Name(), show(samples))
		}
	}
}

func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		filter host.Filter
		name   string
		want   bool
	}{
		{host.Filter{}, "lo", true},
		{host.Filter{Include: []string{"eth*", "wlan0"}}, "eth1", true},
		{host.Filter{Include: []string{"eth*", "wlan0"}}, "wlan1", false},
		{host.Filter{Include: []string{"eth*"}, Exclude: []string{"eth1"}}, "eth1", false},
		{host.Filter{Include: []string{"["}}, "[", false},
		{host.DefaultInterfaces, "veth0a1", false},
		{host.DefaultInterfaces, "sit0", false},
		{host.DefaultInterfaces, "sit1", true},
		{host.DefaultDisks, "mmcblk0boot1", false},
		{host.DefaultDisks, "mmcblk0", true},
		{host.DefaultDisks, "zram0", false},
	} {
		if got := tt.filter.Has(tt.name); got != tt.want {
			t.Errorf("%v has %s: %t, want %t", tt.filter, tt.name, got, tt.want)
		}
	}
}

// Whoever asks for a loop device or a link of a container gets it.
func TestFilterReplacesTheDefault(t *testing.T) {
	root := rootOf(t)
	samples := take(t, &host.Network{Root: root, Interfaces: host.Filter{Include: []string{"veth*", "lo"}}})
	if len(samples) != 0 { // neither has anything below /sys, and the first round has no rates
		t.Error(show(samples))
	}
	write(t, root, "sys/class/net/lo/carrier", "1\n")
	samples = take(t, &host.Network{Root: root, Interfaces: host.Filter{Include: []string{"veth*", "lo"}}})
	expect(t, "lo", samples, "network lo: carrier=true\n")
}

func TestADeviceListedTwiceSpeaksOnce(t *testing.T) {
	root, clock := rootOf(t), newTicker()
	disks, nics := &host.DiskIO{Root: root, Now: clock.now}, &host.Network{Root: root, Now: clock.now}
	write(t, root, "proc/diskstats", strings.Repeat("8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n", 2))
	write(t, root, "proc/net/dev", "a\nb\n"+strings.Repeat("eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", 2))
	for round := range 2 {
		if d, n := take(t, disks), take(t, nics); len(d) != round || len(n) != 1 {
			t.Errorf("round %d: %s%s", round, show(d), show(n))
		}
		clock.pass(time.Second)
	}
}

// Interfaces come from a file: their names lead nowhere else.
func TestNamesLeadNowhere(t *testing.T) {
	root := rootOf(t)
	write(t, root, "proc/net/dev", "a\nb\n ../../../secret: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n")
	write(t, root, "secret/carrier", "1\n")
	if samples := take(t, &host.Network{Root: root}); len(samples) != 0 {
		t.Error(show(samples))
	}
}

// The kernel's word for a link that is down. The kernel itself must say it: no file of
// ours can. The loopback has no speed, which every kernel puts as EINVAL.
func TestEINVALIsNoFault(t *testing.T) {
	const sleeper = "/sys/class/net/lo/speed"
	if _, err := os.ReadFile(sleeper); err == nil || !strings.HasSuffix(err.Error(), "invalid argument") {
		t.Skipf("%s does not answer EINVAL here: %v", sleeper, err)
	}
	root := rootOf(t)
	for _, name := range []string{"sys/class/net/eth0/carrier", "sys/class/net/wlan0/speed"} {
		path := root + "/" + name
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(sleeper, path); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, "network", take(t, &host.Network{Root: root}), `
		network eth0: carrier=false
		network wlan0: carrier=true
		network can0: carrier=false
		`)
}
