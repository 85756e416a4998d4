package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// tools are what tests want beside Go and a C compiler, and the Debian package each is in.
var tools = []struct{ file, pkg string }{
	{"mosquitto", "mosquitto"},
	{"mosquitto_sub", "mosquitto-clients"},
	{"openssl", "openssl"},
	{"python3", "python3"},
	{"/usr/lib/python3/dist-packages/sklearn/__init__.py", "python3-sklearn"},
	{"bsdiff", "bsdiff"},
	{"fw_setenv", "libubootenv-tool"},
	{"grub-editenv", "grub-common"},
	{"grub-emu", "grub-emu"},
	{"mkfs.vfat", "dosfstools"},
	{"mcopy", "mtools"},
	{"losetup", "mount"},
	{"mkfs.ext4", "e2fsprogs"},
	{"mkfs.vfat", "dosfstools"},
	{"mcopy", "mtools"},
	{"sfdisk", "fdisk"},
	{"genimage", "genimage"},
	{"dbus-daemon", "dbus-daemon"},
	{"ip", "iproute2"},
	{"journalctl", "systemd"},
	{"systemd-analyze", "systemd"},
	{"mmdebstrap", "mmdebstrap"},
	{"/lib/systemd/systemd-journal-remote", "systemd-journal-remote"},
	{"sfdisk", "fdisk"},
	{"mkfs.vfat", "dosfstools"},
	{"mcopy", "mtools"},
	{"ip", "iproute2"},
	{"mkimage", "u-boot-tools"},
	{"cpio", "cpio"},
	{"nbdinfo", "libnbd-bin"},
	{"qemu-io", "qemu-utils"},
}

// absent returns the packages of the tools that are not here.
func absent() []string {
	var packages []string
	for _, tool := range tools {
		_, err := os.Stat(tool.file)
		if !filepath.IsAbs(tool.file) {
			_, err = exec.LookPath(tool.file)
		}
		if err != nil && !filepath.IsAbs(tool.file) { // daemons are not in every user's path
			_, err = exec.LookPath("/usr/sbin/" + tool.file)
		}
		if err != nil && !slices.Contains(packages, tool.pkg) {
			packages = append(packages, tool.pkg)
		}
	}
	return packages
}

// install brings what tests want where this is root on Debian, and returns what is still missing.
func install() string {
	packages := absent()
	if len(packages) == 0 {
		return ""
	}
	if _, err := exec.LookPath("apt-get"); err == nil && runtime.GOOS == "linux" && os.Geteuid() == 0 {
		fmt.Println("installing " + strings.Join(packages, " "))
		defer keepDaemonsQuiet()()
		apt := func(args ...string) error {
			cmd := exec.Command("apt-get", append([]string{"-qq", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%sapt-get %s: %w", out, args[0], err)
			}
			return nil
		}
		err := apt("update")
		if err == nil {
			err = apt(append([]string{"install", "-y", "--no-install-recommends"}, packages...)...)
		}
		if err != nil {
			fmt.Println(err)
		}
	}
	return strings.Join(absent(), " ")
}

// keepDaemonsQuiet keeps packages from starting what they bring, by Debian's own means, and returns what undoes that.
// Where there already is such a policy it is somebody's, and stays.
func keepDaemonsQuiet() (undo func()) {
	const policy = "/usr/sbin/policy-rc.d"
	f, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return func() {}
	}
	fmt.Fprint(f, "#!/bin/sh\nexit 101\n")
	f.Close()
	return func() { os.Remove(policy) }
}
