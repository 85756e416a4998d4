// Command holdfastctl is the operator's side of Holdfast: a broker to try things with, certificates, a live view of the
// fleet, desired state, commands and recordings.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run returns the exit code: 0 done, 1 the deed did not succeed, 2 wrong usage or configuration, 3 no answer in time.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	f := judge(err)
	if !errors.Is(f.err, errTold) {
		fmt.Fprintln(errOut, "holdfastctl: "+f.err.Error())
	}
	for _, h := range f.hints {
		fmt.Fprintln(errOut, "hint: "+h)
	}
	return f.code
}
