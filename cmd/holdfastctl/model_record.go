package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/ledger"
	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/rows"
	"holdfast/remediate/forest"
)

func newModelRecord(c *connection) *cobra.Command {
	var out, label string
	var rep, count int
	var limit, period time.Duration
	cmd := &cobra.Command{
		Use: "record DEVICE...", Short: "Record labelled rows that models are trained on",
		Long: `record listens to devices' telemetry and writes a row of CSV for each round of their collectors: what DeviceStatus was then, which is
what rules and models judge by. A device has to send its readings as they are: telemetry.digest = "0s", no deadband, and
telemetry.period = "1s" for a model of 1 s rows.

What is wrong is said on standard input, a line when it begins: "label cpu_hog", and "normal" when it is over; "rep 2" before says
that what follows is a second repetition. --label says it for the whole recording. A row has the label of its own time by the
device's clock, so that what comes late, because the device had no link, is labelled right as long as both clocks are.`,
		Example: `  holdfastctl model record gate-7 --label normal --for 1h --out normal.csv
  (sleep 60; echo label disk_full; ./fill; sleep 20; echo normal; sleep 60) | holdfastctl model record gate-7 --out a.csv`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: c.completeDevices(0),
	}
	f := cmd.Flags()
	f.StringVar(&out, "out", "", "`FILE` of CSV that is made; - for standard output")
	f.StringVar(&label, "label", "", "the `LABEL` of all rows; nothing is read from standard input then")
	f.IntVar(&rep, "rep", 0, "number of the repetition, for rows from the beginning")
	f.DurationVar(&period, "period", time.Second, "how often the devices' collectors are read")
	f.IntVar(&count, "count", 0, "end after so many rows")
	f.DurationVar(&limit, "for", 0, "end after this long")
	cmd.RunE = deed(func(cmd *cobra.Command, devices []string) error {
		if out == "" {
			return usage("--out: wants a file")
		}
		if err := checkLabel(cmp.Or(label, "normal")); err != nil || rep < 0 || count < 0 || period < 100*time.Millisecond {
			return usage("--label, --rep, --count, --period: %v", cmp.Or(err, errors.New("less than that cannot be")))
		}
		filters, err := deviceFilters(devices)
		if err != nil {
			return err
		}
		o, err := c.options(cmd)
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancelCause(cmd.Context())
		defer stop(nil)
		if limit > 0 {
			var end context.CancelFunc
			ctx, end = context.WithTimeout(ctx, limit)
			defer end()
		}
		file := cmd.OutOrStdout()
		if out != "-" {
			f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // a recording is work: none is written over
			if err != nil {
				return hinted(err, "a recording is never written over: give another name")
			}
			defer f.Close()
			file = f
		}
		w, err := rows.New(file, period)
		if err != nil {
			return err
		}
		w.Repetition(rep)
		r := &labelled{cmd: cmd, w: w, l: ledger.New(0), count: count, stop: stop, said: make(chan said, 64)} // labels are told one by one
		if label != "" {
			w.Label(time.Time{}, label)
		} else {
			go r.read(ctx, cmd.InOrStdin())
		}
		return r.run(ctx, o, filters)
	})
	return cmd
}

func checkLabel(label string) error {
	if err := forest.CheckName(label); err != nil {
		return fmt.Errorf("label %.40q: %w", label, err)
	}
	return nil
}

// labelled is a recording under way. Follow calls it from one goroutine.
type labelled struct {
	cmd   *cobra.Command
	w     *rows.Writer
	l     *ledger.Ledger
	count int
	stop  context.CancelCauseFunc
	said  chan said
}

// said is a line of standard input, and when it was read.
type said struct {
	at    time.Time
	label string
	rep   int
}

// read hands on what standard input says. Its end is no end of the recording.
func (r *labelled) read(ctx context.Context, in io.Reader) {
	s := bufio.NewScanner(io.LimitReader(in, 16<<20))
	for n := 1; s.Scan(); n++ {
		f := strings.Fields(s.Text())
		v := said{at: time.Now(), rep: -1}
		var err error
		switch {
		case len(f) == 0:
			continue
		case len(f) == 1 && f[0] == "normal":
			v.label = f[0]
		case len(f) == 2 && f[0] == "label":
			v.label, err = f[1], checkLabel(f[1])
		case len(f) == 2 && f[0] == "rep":
			if v.rep, err = strconv.Atoi(f[1]); err == nil && v.rep < 0 {
				err = errors.New("negative")
			}
		default:
			err = errors.New(`wants "label NAME", "normal" or "rep NUMBER"`)
		}
		if err != nil {
			r.stop(usage("standard input, line %d: %v", n, err))
			return
		}
		select {
		case r.said <- v:
		case <-ctx.Done():
			return
		}
	}
}

func (r *labelled) run(ctx context.Context, o client.Options, filters []string) error {
	err := client.Follow(ctx, o, filters, r.take)
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, errEnough) &&
		!errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = cause
	}
	if err != nil {
		return err
	}
	r.labels()
	if r.count == 0 || r.w.Rows < r.count {
		if err := r.w.Close(); err != nil {
			return err
		}
	}
	fmt.Fprintf(r.cmd.ErrOrStderr(), "%d rows written; %d samples came when their row was written already\n", r.w.Rows, r.w.Late)
	return nil
}

// labels takes what was said up to now.
func (r *labelled) labels() {
	for {
		select {
		case v := <-r.said:
			if v.rep >= 0 {
				r.w.Repetition(v.rep)
			} else {
				r.w.Label(v.at, v.label)
			}
		default:
			return
		}
	}
}

func (r *labelled) take(e client.Event) {
	switch {
	case e.Down != nil:
		fmt.Fprintf(r.cmd.ErrOrStderr(), "holdfastctl: model record: %v; next attempt in %s\n", e.Down.Err, e.Down.Retry.Round(100*time.Millisecond))
	case e.Up != nil:
		fmt.Fprintln(r.cmd.ErrOrStderr(), "recording")
	case e.Message != nil:
		e.Message.Ack()
		r.labels()
		device, kind, _ := message.Split(e.Message.Topic)
		if kind != "telemetry" || r.count > 0 && r.w.Rows >= r.count {
			return
		}
		if fresh, err := message.Count(r.l, device, kind, e.Message.Payload); err == nil && !fresh {
			return
		}
		var t message.Telemetry
		err := message.Decode(e.Message.Payload, &t)
		if err != nil {
			fmt.Fprintf(r.cmd.ErrOrStderr(), "holdfastctl: model record: a message of %s is left out: %v\n", message.Clean(device, 64), err)
			return
		}
		switch err := r.w.Take(device, &t); {
		case errors.Is(err, rows.ErrDigest):
			r.stop(hinted(err, `set telemetry.digest = "0s" and telemetry.period = "1s" on the device`))
		case err != nil:
			r.stop(err)
		case r.count > 0 && r.w.Rows >= r.count:
			r.stop(errEnough)
		}
	}
}
