package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/ledger"
	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/record"
)

type recording struct {
	files     record.Options
	id        string
	count     int
	limit     time.Duration
	retained  bool
	mustAll   bool
	filters   []string
	megabytes int64
}

func newRecord(c *connection) *cobra.Command {
	var r recording
	cmd := &cobra.Command{
		Use:   "record [DEVICE...]",
		Short: "Write everything devices say to files",
		Long: `record writes a JSON line for each message: received, topic, payload. Files are rotated by size and age, and only so
many are kept. The broker keeps a session for it, so what is said while record is away comes afterwards; a message is
acknowledged to the broker only when it has been written. Duplicates are dropped by (session, seq), and at the end it
says which records are missing.`,
		Example:           "  holdfastctl record --out recordings\n  holdfastctl record gate-7 --for 10m --check\n  holdfastctl record --filter 'holdfast/+/event' --count 100",
		ValidArgsFunction: c.completeDevices(0),
	}
	f := cmd.Flags()
	f.StringVar(&r.files.Dir, "out", "recordings", "`DIR` for the files")
	f.Int64Var(&r.megabytes, "rotate-megabytes", 64, "size at which the next file is begun")
	f.DurationVar(&r.files.Age, "rotate-after", 24*time.Hour, "age at which the next file is begun")
	f.IntVar(&r.files.Files, "keep", 30, "how many files are kept")
	f.StringVar(&r.id, "client-id", "", "`ID` of the session at the broker (default: of user, host and directory)")
	f.StringArrayVar(&r.filters, "filter", nil, "topic `FILTER` instead of everything; may be given again")
	f.IntVar(&r.count, "count", 0, "end after so many messages")
	f.DurationVar(&r.limit, "for", 0, "end after this long")
	f.BoolVar(&r.retained, "retained", true, "write what the broker keeps, too")
	f.BoolVar(&r.mustAll, "check", false, "exit 1 if a record is missing")
	cmd.RunE = deed(func(cmd *cobra.Command, devices []string) error {
		if len(r.filters) > 0 && len(devices) > 0 {
			return usage("record: devices or filters, not both")
		}
		if r.count < 0 || r.megabytes < 1 || r.files.Age < time.Second || r.files.Files < 1 {
			return usage("record: --count, --rotate-megabytes, --rotate-after and --keep want more than that")
		}
		r.files.Bytes = r.megabytes << 20
		if len(r.filters) == 0 {
			var err error
			if r.filters, err = deviceFilters(devices); err != nil {
				return err
			}
		}
		return runRecord(cmd, c, r)
	})
	return cmd
}

// sessionID is the same for the same person recording to the same directory.
func sessionID(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	h := sha256.Sum256([]byte(self() + "\x00" + abs))
	return "holdfastctl-record-" + hex.EncodeToString(h[:6]), nil
}

var errEnough = errors.New("as many as were asked for")

// recorder owns the files and the ledger; Follow calls it from one goroutine.
type recorder struct {
	cmd        *cobra.Command
	w          *record.Writer
	l          *ledger.Ledger
	r          recording
	written    int
	duplicates int
	stop       context.CancelCauseFunc
}

func runRecord(cmd *cobra.Command, c *connection, r recording) error {
	o, err := c.options(cmd)
	if err != nil {
		return err
	}
	if o.ID = r.id; o.ID == "" {
		if o.ID, err = sessionID(r.files.Dir); err != nil {
			return err
		}
	}
	o.HoldAck = true
	w, err := record.New(r.files)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(cmd.Context())
	defer stop(nil)
	if r.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.limit)
		defer cancel()
	}
	rec := &recorder{cmd: cmd, w: w, l: ledger.New(0), r: r, stop: stop}
	err = client.Follow(ctx, o, r.filters, rec.take)
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, errEnough) &&
		!errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = cause
	}
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return rec.report(c.json)
}

func (rec *recorder) take(e client.Event) {
	switch {
	case e.Down != nil:
		fmt.Fprintf(rec.cmd.ErrOrStderr(), "holdfastctl: record: %v; next attempt in %s\n", e.Down.Err, e.Down.Retry.Round(100*time.Millisecond))
	case e.Up != nil:
		fmt.Fprintln(rec.cmd.ErrOrStderr(), "recording to", rec.r.files.Dir)
	case e.Message != nil:
		rec.message(e.Message)
	}
}

func (rec *recorder) message(m *client.Message) {
	if rec.r.count > 0 && rec.written >= rec.r.count {
		return // not acknowledged: it comes with the next recording
	}
	device, kind, _ := message.Split(m.Topic)
	if m.Retained && !rec.r.retained || strings.HasPrefix(m.Topic, "holdfast/ctl/") {
		m.Ack()
		return
	}
	// A full ledger and a malformed record are no reason not to write what came.
	if fresh, err := message.Count(rec.l, device, kind, m.Payload); err == nil && !fresh {
		rec.duplicates++
		m.Ack()
		return
	}
	if err := rec.w.Write(record.Line{Received: time.Now(), Topic: m.Topic, Retained: m.Retained, Payload: m.Payload}); err != nil {
		rec.stop(err)
		return
	}
	m.Ack()
	if rec.written++; rec.written == rec.r.count {
		rec.stop(errEnough)
	}
}

func (rec *recorder) report(asJSON bool) error {
	r := rec.l.Report()
	out := rec.cmd.OutOrStdout()
	if asJSON {
		if err := printJSON(out, struct {
			Messages int `json:"messages"`
			ledger.Report
		}{rec.written, r}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%d messages written to %s, %d records of %d sessions, %d duplicates dropped, %d missing\n",
			rec.written, filepath.ToSlash(rec.r.files.Dir), r.Records, len(r.Sessions), rec.duplicates, r.Missing)
		for i := range r.Sessions {
			if s := &r.Sessions[i]; len(s.Missing) > 0 || len(s.Declared) > 0 {
				fmt.Fprintln(out, message.Clean(s.String(), 500))
			}
		}
		if r.Unkept > 0 {
			fmt.Fprintf(out, "%d records were written but not checked: too many gaps to keep account of\n", r.Unkept)
		}
	}
	if rec.r.mustAll && !r.Complete() {
		return &failure{code: exitFailed, err: fmt.Errorf("record: %d records are missing", r.Missing)}
	}
	return nil
}
