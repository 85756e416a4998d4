//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func attempts() []attempt {
	all := append(fileAttempts(), identityAttempts()...)
	all = append(all, spaceAttempts()...)
	all = append(all, processAttempts()...)
	all = append(all, kernelAttempts()...)
	all = append(all, networkAttempts()...)
	return append(all, serviceAttempts()...)
}

// errno makes a raw call an error.
func errno(trap uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := unix.RawSyscall6(trap, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return e
	}
	return nil
}

// program runs one and returns its error; it has nothing to read.
func program(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %.120s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// identityAttempts are those to be somebody else, or to be able to do more.
func identityAttempts() []attempt {
	mine := func() string { return filepath.Join(os.TempDir(), fmt.Sprintf("attempted-%d", os.Getpid())) }
	file := func(do func(name string) error) func() error {
		return func() error {
			name := mine()
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return err
			}
			defer os.Remove(name)
			return do(name)
		}
	}
	as := func(err error) error { // real power is what lets another be seen
		if err != nil {
			return err
		}
		return readSome("/etc/shadow")
	}
	return []attempt{
		{"become root by setuid", func() error { return as(errno(unix.SYS_SETRESUID, 0, 0, 0)) }},
		{"become group root by setgid", func() error { return errno(unix.SYS_SETRESGID, 0, 0, 0) }},
		{"join other groups", func() error { return errno(unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&[]uint32{0}[0]))) }},
		{"hold a capability", holdCapabilities},
		{"take a capability along an exec", func() error {
			runtime.LockOSThread()
			if err := holdCapabilities(); err != nil {
				return err
			}
			return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_SYS_TIME, 0, 0)
		}},
		{"change the secure bits", func() error { return unix.Prctl(unix.PR_SET_SECUREBITS, 1, 0, 0, 0) }},
		{"drop from the bounding set", func() error { return unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_WAKE_ALARM, 0, 0, 0) }},
		{"run a program with root's mark", func() error { return program(filepath.Join(stage, borrowed, borrowed)) }},
		{"run a program with file capabilities", func() error { return program(filepath.Join(stage, lent, borrowed)) }},
		{"su", func() error { return program("su", "-c", "true") }},
		{"mark a file set-user-ID", file(func(n string) error { return os.Chmod(n, 0o755|os.ModeSetuid) })},
		{"mark a file set-group-ID", file(func(n string) error { return os.Chmod(n, 0o755|os.ModeSetgid) })},
		{"give a file away", file(func(n string) error { return os.Chown(n, 1, 1) })},
		{"mark a file with capabilities", file(setCapabilities)},
		{"mark a file trusted", file(func(n string) error { return unix.Setxattr(n, "trusted.attempted", []byte("x"), 0) })},
		{"make a file immutable", file(func(n string) error {
			f, err := os.Open(n)
			if err != nil {
				return err
			}
			defer f.Close()
			if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0x20); err != nil {
				return err
			}
			return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0)
		})},
	}
}

// holdCapabilities asks for the power to set the clock.
func holdCapabilities() error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return err
	}
	data[0].Effective |= 1 << unix.CAP_SYS_TIME
	data[0].Permitted |= 1 << unix.CAP_SYS_TIME
	data[0].Inheritable |= 1 << unix.CAP_SYS_TIME
	return unix.Capset(&head, &data[0])
}

// spaceAttempts are those on mounts and namespaces.
func spaceAttempts() []attempt {
	alone := func(flags uintptr) func() error {
		return func() error { runtime.LockOSThread(); return errno(unix.SYS_UNSHARE, flags) }
	}
	join := func(kind string) func() error {
		return func() error {
			runtime.LockOSThread()
			fd, err := unix.Open("/proc/1/ns/"+kind, unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			return unix.Setns(fd, 0)
		}
	}
	own := func(do func() error) func() error { // in a mount namespace of its own, which root may have
		return func() error {
			runtime.LockOSThread()
			if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_FS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
				return err
			}
			return do()
		}
	}
	return []attempt{
		{"mount a file system", own(func() error { return unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "") })},
		{"bind a directory over another", own(func() error { return unix.Mount("/root", "/tmp", "", unix.MS_BIND, "") })},
		{"mount again for writing", own(func() error { return unix.Mount("", "/proc", "", unix.MS_REMOUNT, "") })},
		{"unmount", own(func() error { return unix.Unmount("/tmp", unix.MNT_DETACH) })},
		{"mount by the new calls", func() error { _, err := unix.Fsopen("tmpfs", 0); return err }},
		{"take a tree of mounts", func() error {
			_, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
			return err
		}},
		{"change the root directory", func() error { return unix.Chroot("/tmp") }},
		{"a user namespace", func() error { // not for a process with threads
			cmd := exec.Command("true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
			return cmd.Run()
		}},
		{"a mount namespace", alone(unix.CLONE_NEWNS)},
		{"a network namespace", alone(unix.CLONE_NEWNET)},
		{"a process namespace", alone(unix.CLONE_NEWPID)},
		{"an IPC namespace", alone(unix.CLONE_NEWIPC)},
		{"a host name namespace", alone(unix.CLONE_NEWUTS)},
		{"a control group namespace", alone(unix.CLONE_NEWCGROUP)},
		{"join the network of process 1", join("net")},
		{"join the mounts of process 1", own(join("mnt"))},
		{"join the host name of process 1", join("uts")},
		{"join the IPC of process 1", join("ipc")},
		{"a device node for memory", func() error { return node(unix.S_IFCHR, 1, 1) }},
		{"a device node for a disk", func() error { return node(unix.S_IFBLK, 7, 0) }},
		{"open a file by its handle", func() error {
			handle, mount, err := unix.NameToHandleAt(unix.AT_FDCWD, "/", 0)
			if err != nil {
				return err
			}
			_ = mount
			fd, err := unix.Open("/", unix.O_RDONLY, 0)
			if err != nil {
				return err
			}
			_, err = unix.OpenByHandleAt(fd, handle, unix.O_RDONLY)
			return err
		}},
	}
}

func node(kind uint32, major, minor uint32) error {
	name := filepath.Join(os.TempDir(), fmt.Sprintf("attempted-node-%d", os.Getpid()))
	if err := unix.Mknod(name, kind|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return err
	}
	return os.Remove(name)
}

// processAttempts are those on other processes, and on the share of the machine this one has.
func processAttempts() []attempt {
	other := func(do func(pid int) error) func() error {
		return func() error {
			pid := victimPID()
			if pid == 0 {
				return errors.New("no victim")
			}
			return do(pid)
		}
	}
	return []attempt{
		{"signal process 1", func() error { return unix.Kill(1, 0) }},
		{"signal a process of root's", other(func(pid int) error { return unix.Kill(pid, unix.SIGCONT) })},
		{"trace a process of root's", other(func(pid int) error {
			runtime.LockOSThread()
			return unix.PtraceSeize(pid)
		})},
		{"trace process 1", func() error { runtime.LockOSThread(); return unix.PtraceSeize(1) }},
		{"open the memory of a process of root's", other(func(pid int) error { return openWrite(fmt.Sprintf("/proc/%d/mem", pid)) })},
		{"read the environment of a process of root's", other(func(pid int) error { return readSome(fmt.Sprintf("/proc/%d/environ", pid)) })},
		{"take a descriptor of a process of root's", other(func(pid int) error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			_, err = unix.PidfdGetfd(fd, 0, 0)
			return err
		})},
		{"set the limits of a process of root's", other(func(pid int) error {
			var now unix.Rlimit
			if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now); err != nil {
				return err
			}
			return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &now, nil)
		})},
		{"move a process of root's to a processor", other(func(pid int) error {
			var set unix.CPUSet
			if err := unix.SchedGetaffinity(pid, &set); err != nil {
				return err
			}
			return unix.SchedSetaffinity(pid, &set)
		})},
		{"slow a process of root's down", other(func(pid int) error { return unix.Setpriority(unix.PRIO_PROCESS, pid, 1) })},
		{"raise its own priority", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -20) }},
		{"run in real time", func() error {
			return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: 1, Priority: 10}, 0)
		}},
		{"have the disk first", func() error { return errno(unix.SYS_IOPRIO_SET, 1, 0, 1<<13|1) }},
		{"raise a hard limit", func() error {
			var now unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NICE, &now); err != nil {
				return err
			}
			return unix.Prlimit(0, unix.RLIMIT_NICE, &unix.Rlimit{Cur: now.Cur, Max: now.Max + 1}, nil)
		}},
		{"be spared when memory ends", func() error { return os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) }},
		{"memory that is written and run", func() error {
			b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return err
			}
			return unix.Munmap(b)
		}},
		{"another personality", func() error { return errno(unix.SYS_PERSONALITY, 0x0040000) }},
	}
}
