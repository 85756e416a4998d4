package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/delta"
	"holdfast/cmd/holdfastctl/internal/hub"
	"holdfast/cmd/holdfastctl/internal/keyring"
	"holdfast/cmd/holdfastctl/internal/pki"
	"holdfast/cmd/holdfastctl/internal/repo"
	"holdfast/cmd/holdfastctl/internal/shadow"
)

// The exit codes, beside 0.
const (
	exitFailed = 1
	exitUsage  = 2
	exitSilent = 3
)

// failure is an error with the exit code it leads to and what to do about it.
type failure struct {
	code  int
	err   error
	hints []string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// errTold is a deed that did not succeed, of which all has been said.
var errTold = errors.New("it did not succeed")

// usage is wrong use of the command line or the configuration.
func usage(format string, a ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, a...)}
}

func hinted(err error, hints ...string) error {
	f := judge(deedError{err})
	f.hints = append(f.hints, hints...)
	return f
}

// deedError marks an error as one of the command itself. What comes out of cobra without the mark is wrong usage.
type deedError struct{ error }

func (d deedError) Unwrap() error { return d.error }

// deed makes a cobra RunE of a function, so that its errors are told from cobra's own.
func deed(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := f(cmd, args); err != nil {
			return deedError{err}
		}
		return nil
	}
}

// judge finds the exit code and the hints for an error.
func judge(err error) *failure {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f
	}
	if told := (*delta.Error)(nil); errors.As(err, &told) { // it knows both itself
		return &failure{code: told.ExitCode(), err: told, hints: told.Hints()}
	}
	mark := deedError{}
	if !errors.As(err, &mark) {
		return &failure{code: exitUsage, err: err, hints: []string{"holdfastctl help says what there is"}}
	}
	f := &failure{code: exitFailed, err: mark.error}
	switch {
	case errors.Is(err, client.ErrTimeout), errors.Is(err, shadow.ErrSilent), errors.Is(err, context.DeadlineExceeded):
		f.code = exitSilent
	case errors.Is(err, client.ErrOptions), errors.Is(err, hub.ErrOptions), errors.Is(err, repo.ErrUsage):
		f.code = exitUsage
	}
	f.hints = hints(err)
	return f
}

func hints(err error) []string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	text := err.Error()
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return []string{"is a broker running there? `holdfastctl hub` starts one; --broker or HOLDFAST_BROKER names another"}
	case errors.As(err, &unknown):
		return []string{"the broker's certificate was not signed by a CA known here: --ca FILE"}
	case errors.As(err, &name):
		return []string{"issue the broker a certificate for the name it is called by: holdfastctl pki issue --server NAME,IP"}
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"):
		return []string{"the broker wants a certificate of yours: --cert FILE --key FILE"}
	case client.Denied(err):
		return []string{"the hub's log says why; check --cert and --key, or --user and --password-file"}
	case errors.Is(err, pki.ErrNoCA):
		return []string{"holdfastctl pki init makes one"}
	case errors.Is(err, keyring.ErrPassphrase):
		return []string{"--passphrase-file FILE or HOLDFAST_PASSPHRASE_FILE, or answer the question on a terminal"}
	case errors.Is(err, repo.ErrNone):
		return []string{"holdfastctl release init makes one"}
	case errors.Is(err, repo.ErrUnsigned):
		return []string{"holdfastctl release sign, where the keys are; --keys DIR says where"}
	case errors.Is(err, pki.ErrPassphrase):
		return []string{"--passphrase-file FILE, or answer the question on a terminal"}
	case errors.Is(err, shadow.ErrChanged):
		return []string{"look at it with `holdfastctl shadow get` and do it again"}
	case errors.Is(err, fs.ErrPermission):
		return []string{"check who owns the file or directory"}
	}
	return nil
}
