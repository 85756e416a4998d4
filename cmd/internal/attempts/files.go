//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What prepare lays out.
const (
	stage    = "/usr/local/lib/holdfast-attempts"
	borrowed = "borrowed"                           // a copy of this program with root's mark
	lent     = "lent"                               // a copy with file capabilities
	victim   = "/run/holdfast-attempts/victim"      // holds the number of a process of root's
	secret   = "/var/lib/holdfast-warden/attempted" // as the warden's own state is
	unit     = "attempted.service"
)

// prepare lays out what the attempts want: programs with marks, a process and a service of root's, a file of the warden's.
func prepare() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	for _, dir := range []string{stage, filepath.Dir(victim), filepath.Dir(secret), "/etc/sudoers.d", "/root/.ssh", "/etc/cron.d",
		"/etc/holdfast", "/usr/lib/holdfast/health.d", "/usr/lib/holdfast/update.d", "/usr/lib/holdfast/scripts"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, mode := range map[string]os.FileMode{borrowed: 0o755 | os.ModeSetuid, lent: 0o755} {
		to := filepath.Join(stage, name, borrowed)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(to, mode); err != nil {
			return err
		}
	}
	if err := setCapabilities(filepath.Join(stage, lent, borrowed)); err != nil {
		return err
	}
	for name, mode := range map[string]os.FileMode{secret: 0o600, "/etc/holdfast/root.json": 0o644, "/etc/fw_env.config": 0o644,
		"/etc/ld.so.preload": 0o644, "/root/.ssh/authorized_keys": 0o600, "/usr/lib/holdfast/release.json": 0o644} {
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		if err := os.WriteFile(name, nil, mode); err != nil {
			return err
		}
	}
	service := "[Service]\nExecStart=/bin/sleep infinity\n"
	if err := os.WriteFile("/run/systemd/system/"+unit, []byte(service), 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("systemctl", "restart", unit).CombinedOutput(); err != nil {
		return fmt.Errorf("start %s: %w: %s", unit, err, out)
	}
	pid, err := exec.Command("systemctl", "show", "-P", "MainPID", unit).Output()
	if err != nil {
		return err
	}
	return os.WriteFile(victim, pid, 0o644)
}

// setCapabilities marks a file with the power to be anybody and to read anything, permitted and effective (struct
// vfs_cap_data, revision 2, of linux/capability.h).
func setCapabilities(name string) error {
	mark := make([]byte, 20)
	copy(mark, []byte{1, 0, 0, 2, 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_SETUID})
	return unix.Setxattr(name, "security.capability", mark, 0)
}

// powers says, in a copy of this program with a mark, whether the mark gave it anything.
func powers() {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		os.Exit(1)
	}
	for line := range strings.Lines(string(text)) {
		if held, ok := strings.CutPrefix(line, "CapEff:"); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(held), 16, 64); err == nil && n != 0 {
				os.Exit(0)
			}
		}
	}
	if os.Geteuid() == 0 {
		os.Exit(0)
	}
	os.Exit(1)
}

func victimPID() int {
	text, _ := os.ReadFile(victim)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// fileAttempts are those on what only root may read or change.
func fileAttempts() []attempt {
	var all []attempt
	add := func(what, name string, do func() error) { all = append(all, attempt{what + " " + name, do}) }
	for _, name := range []string{"/etc/shadow", secret, "/root/.ssh/authorized_keys", "/proc/1/environ", "/proc/1/maps", "/proc/1/auxv",
		"/proc/kmsg", "/dev/kmsg", "/proc/kcore", "/proc/kpageflags", "/etc/gshadow"} {
		add("read", name, func() error { return readSome(name) })
	}
	for _, name := range []string{"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/ld.so.preload", "/etc/fstab", "/etc/hosts",
		"/etc/machine-id", "/etc/fw_env.config", "/etc/holdfast/holdfast.toml", "/etc/holdfast/root.json",
		"/usr/lib/holdfast/release.json", "/root/.ssh/authorized_keys", secret, "/usr/lib/systemd/system/holdfast.service",
		"/usr/lib/systemd/system/holdfast-warden.service", "/run/systemd/system/" + unit, "/proc/sysrq-trigger",
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches", "/proc/1/mem",
		"/proc/1/oom_score_adj", "/dev/kmsg", "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/profiling",
		"/sys/power/pm_async", "/sys/module/printk/parameters/time"} {
		add("write", name, func() error { return openWrite(name) })
	}
	for _, dir := range []string{"/", "/etc", "/etc/systemd/system", "/run/systemd/system", "/run/udev", "/run", "/etc/sudoers.d", "/etc/cron.d",
		"/etc/profile.d", "/etc/holdfast", "/etc/tmpfiles.d", "/usr/bin", "/usr/lib", "/usr/lib/systemd/system", "/usr/lib/holdfast/health.d",
		"/usr/lib/holdfast/scripts", "/usr/lib/holdfast/update.d", "/root", "/boot", "/var/lib", "/var/lib/holdfast-warden",
		"/var/lib/holdfast-agent", "/var/lib/holdfast-content", "/var/spool", stage, "/sys/fs/cgroup"} {
		add("make a file or directory in", dir, func() error { return makeIn(dir) })
	}
	for _, name := range []string{"/usr/bin/holdfast", "/run/holdfast/warden.sock", "/var/lib/holdfast-warden", "/var/lib/holdfast-agent",
		"/etc/passwd", "/usr/lib/systemd/system/holdfast.service"} {
		add("rename", name, func() error { return renameBack(name) })
	}
	for _, name := range []string{"/usr/bin/holdfast", "/run/holdfast", "/etc/shadow"} {
		add("change the mode of", name, func() error {
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			return os.Chmod(name, info.Mode())
		})
		add("change the owner of", name, func() error { return os.Chown(name, 0, -1) })
	}
	add("enter", "the root of process 1", func() error { _, err := os.ReadDir("/proc/1/root/etc"); return err })
	add("enter", "the files of process 1", func() error { _, err := os.Readlink("/proc/1/cwd"); return err })
	add("move", "itself to another control group", func() error { return toGroup("/sys/fs/cgroup") })
	return all
}

// readSome opens for reading and reads nothing.
func readSome(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// openWrite opens for writing and writes nothing.
func openWrite(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func makeIn(dir string) error {
	name := filepath.Join(dir, "holdfast-attempted-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(name, 0o700); err != nil {
		return err
	}
	return os.Remove(name)
}

func renameBack(name string) error {
	if err := os.Rename(name, name+"~attempted"); err != nil {
		return err
	}
	return os.Rename(name+"~attempted", name)
}

// toGroup moves this process to the top of some hierarchy.
func toGroup(top string) error {
	var last error
	for _, at := range []string{top, top + "/systemd", top + "/unified", top + "/memory"} {
		f, err := os.OpenFile(at+"/cgroup.procs", os.O_WRONLY, 0)
		if err != nil {
			last = err
			continue
		}
		_, err = f.WriteString(strconv.Itoa(os.Getpid()))
		if f.Close(); err == nil {
			return nil
		}
		last = err
	}
	return last
}
