//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"holdfast/cmd/internal/lab"
)

// guestPackages are what the guest is made of, beside the kernel.
var guestPackages = []string{"busybox-static", "e2fsck-static", "libubootenv-tool", "libubootenv0.1", "libc6", "zlib1g"}

var kernelName = regexp.MustCompile(`\blinux-image-[0-9][0-9.-]*-arm64\b`)

// debian unpacks Debian's packages for arm64 below a directory, once, and returns the directory. It has lists of packages
// of its own: those of this machine and what is installed on it stay as they are.
func debian(ctx context.Context, dir string) (root string, err error) {
	root = filepath.Join(dir, "root")
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	apt := aptIn{ctx, dir}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "state/status"), nil, 0o644); err != nil {
		return "", err
	}
	if _, err := apt.do(dir, "apt-get", "update"); err != nil {
		return "", fmt.Errorf("%w: %w", lab.ErrNotHere, err)
	}
	out, err := apt.do(dir, "apt-cache", "show", "--no-all-versions", "linux-image-arm64")
	if err != nil {
		return "", fmt.Errorf("%w: %w", lab.ErrNotHere, err)
	}
	kernel := kernelName.FindString(out)
	if kernel == "" {
		return "", fmt.Errorf("%w: Debian's archive has no kernel for arm64", lab.ErrNotHere)
	}
	fmt.Fprintln(os.Stderr, "fetching", kernel, strings.Join(guestPackages, " "))
	debs := filepath.Join(dir, "debs")
	if _, err := apt.do(debs, "apt-get", append([]string{"download", kernel}, guestPackages...)...); err != nil {
		return "", fmt.Errorf("%w: %w", lab.ErrNotHere, err)
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err == nil && len(files) != 1+len(guestPackages) {
		err = fmt.Errorf("%d packages came, want %d", len(files), 1+len(guestPackages))
	}
	partial := root + ".partial"
	for _, f := range files {
		err = errors.Join(err, run(ctx, "dpkg-deb", "-x", f, partial))
	}
	if err != nil {
		return "", err
	}
	return root, os.Rename(partial, root)
}

// aptIn is apt with a state of its own.
type aptIn struct {
	ctx context.Context
	dir string
}

func (a aptIn) do(in, name string, args ...string) (string, error) {
	options := []string{"-q", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64", "-o", "Acquire::Languages=none",
		"-o", "APT::Sandbox::User=root", "-o", "Dir::State=" + filepath.Join(a.dir, "state"), "-o", "Dir::State::status=" + filepath.Join(a.dir, "state/status"),
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache")}
	cmd := exec.CommandContext(a.ctx, name, append(options, args...)...)
	cmd.Dir = in
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(bad.Bytes()))
	}
	return out.String(), nil
}

// run runs a program whose words matter only when it fails.
func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, bytes.TrimSpace(out[max(0, len(out)-1000):]))
	}
	return nil
}

// build makes the program for the guest. With a mutant it has a mistake in it, which no other build can have.
func build(ctx context.Context, path, mutant string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=1.0.0", "-o", path}
	if mutant != "" {
		args = append(args, "-tags", "mutant")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/holdfast")...)
	cmd.Env = append(slices.Clone(os.Environ()), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
