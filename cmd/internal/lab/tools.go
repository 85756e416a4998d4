//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Tool is a program or file, and the Debian package it is in.
type Tool struct{ File, Package string }

// Need brings what is not here where this is root on Debian. What then is still missing is named in the error, which is
// ErrNotHere.
func Need(tools []Tool) error {
	packages := Absent(tools)
	if len(packages) == 0 {
		return nil
	}
	why := errors.New("wants " + strings.Join(packages, " "))
	if _, err := exec.LookPath("apt-get"); err == nil && os.Geteuid() == 0 {
		fmt.Fprintln(os.Stderr, "installing", strings.Join(packages, " "))
		why = install(packages)
		if packages = Absent(tools); len(packages) == 0 {
			return nil
		}
		why = fmt.Errorf("wants %s: %w", strings.Join(packages, " "), errors.Join(why))
	}
	return fmt.Errorf("%w: %w", ErrNotHere, why)
}

// Absent returns the packages of the tools that are not here.
func Absent(tools []Tool) (packages []string) {
	for _, tool := range tools {
		var err error
		if filepath.IsAbs(tool.File) {
			_, err = os.Stat(tool.File)
		} else if _, err = exec.LookPath(tool.File); err != nil {
			_, err = os.Stat(sbin(tool.File))
		}
		if err != nil && !slices.Contains(packages, tool.Package) {
			packages = append(packages, tool.Package)
		}
	}
	return packages
}

func install(packages []string) error {
	// By Debian's own means nothing that comes starts. Where there is such a policy already it is somebody's, and stays.
	const policy = "/usr/sbin/policy-rc.d"
	if f, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755); err == nil {
		fmt.Fprint(f, "#!/bin/sh\nexit 101\n")
		f.Close()
		defer os.Remove(policy)
	}
	for _, args := range [][]string{{"update"}, append([]string{"install", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.Command("apt-get", append([]string{"-qq", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, out[max(0, len(out)-500):])
		}
	}
	return nil
}
