//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"holdfast/cmd/internal/lab"
)

// try boots the board and opens a shell in its network, where holdfastctl is told the broker and the command board runs
// something on the board. The lab ends with the shell.
func (s *site) try(ctx context.Context) error {
	start := time.Now()
	if err := s.on(); err != nil {
		return err
	}
	if _, _, err := s.awaitUp(ctx); err != nil {
		return err
	}
	if err := s.hears(ctx, 0, "status", `"online":true`); err != nil {
		return err
	}
	s.hangUp() // there is one shell of the board, and it is the user's now
	self, err := os.Executable()
	if err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' board '%s' \"$*\"\n", self, s.dir)
	if err := put(s.dir, "commands/board", script, 0o755); err != nil {
		return err
	}
	fmt.Printf("%s is up after %.0f s; its console goes to %s\n", id, time.Since(start).Seconds(), s.path("console.log"))
	fmt.Println("holdfastctl is told the broker; `board COMMAND` runs one on the board; `exit` ends the lab")
	if err := put(s.dir, "commands/rc", "PS1='lab$ '\n", 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--rcfile", s.path("commands/rc"))
	cmd.Dir = s.dir
	cmd.Env = append(s.environ(), "PATH="+s.path("commands")+":"+s.bin+":"+os.Getenv("PATH"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) { // how the user's last command ended is theirs
		return err
	}
	return nil
}

// board runs a command on the board of a lab that is open elsewhere, and returns its exit code.
func board(ctx context.Context, dir, words string) int {
	sh, err := lab.DialShell(ctx, filepath.Join(dir, "shell"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "board:", err)
		return 1
	}
	defer sh.Close()
	out, err := sh.Do(ctx, "set -o pipefail; {\n"+words+"\n} 2>&1 | cat") // to a pipe: on a terminal programs draw
	if out != "" {
		fmt.Println(out)
	}
	if status := (*lab.StatusError)(nil); errors.As(err, &status) {
		return status.Status
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "board:", err)
		return 1
	}
	return 0
}
