package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/record"
	"holdfast/cmd/holdfastctl/internal/watch"
)

const redraw = 500 * time.Millisecond

func newWatch(c *connection) *cobra.Command {
	var once bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "watch [DEVICE...]",
		Short: "Show devices live",
		Long: `watch shows a row for each device and the latest events below, those in trouble first. On a terminal the table is
redrawn in place; elsewhere it prints a line for each event. With --json it prints a line for each message.

SEEN is when the device was last heard, LAG how old its newest sample was when it came, LOST how many records are
missing since watch began, ALERTS those of the last hour. DISK is the fullest, TEMP the hottest.`,
		Example:           "  holdfastctl watch\n  holdfastctl watch --once\n  holdfastctl watch gate-7 --json",
		ValidArgsFunction: c.completeDevices(0),
	}
	cmd.Flags().BoolVar(&once, "once", false, "print the table once, of what the broker keeps, and end")
	cmd.Flags().DurationVar(&limit, "for", 0, "end after this long (default: when interrupted)")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		filters, err := deviceFilters(args)
		if err != nil {
			return err
		}
		o, err := c.options(cmd)
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		v := &viewer{broker: o.Broker, out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(), fleet: watch.NewFleet(), json: c.json}
		if once {
			return v.once(ctx, o, filters)
		}
		return v.live(ctx, o, filters)
	})
	return cmd
}

// deviceFilters are the subscriptions for the devices, all of them where none is named.
func deviceFilters(devices []string) ([]string, error) {
	if len(devices) == 0 {
		return []string{"holdfast/+/#"}, nil
	}
	var list []string
	for _, d := range devices {
		if err := deviceArg(d); err != nil {
			return nil, err
		}
		list = append(list, "holdfast/"+d+"/#")
	}
	return list, nil
}

// viewer prints what comes, in one of three ways.
type viewer struct {
	broker   string
	out, err io.Writer
	fleet    *watch.Fleet
	json     bool
	down     string
}

func (v *viewer) once(ctx context.Context, o client.Options, filters []string) error {
	mq, err := client.Dial(ctx, o)
	if err != nil {
		return err
	}
	defer mq.Close()
	kept, err := mq.Retained(ctx, filters...)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, m := range kept {
		if err := v.take(m, now, false); err != nil {
			return err
		}
	}
	if v.json {
		return nil
	}
	width, _, tty := terminal(v.out)
	return v.print(v.fleet.Draw(watch.Screen{Broker: v.broker, Width: width, Color: tty}, now))
}

func (v *viewer) print(lines []string) error {
	_, err := io.WriteString(v.out, strings.Join(lines, "\n")+"\n")
	return err
}

// take enters a message and, with say, prints its line.
func (v *viewer) take(m client.Message, now time.Time, say bool) error {
	if _, kind, ok := message.Split(m.Topic); !ok || kind == "" {
		return nil
	}
	entry, fresh := v.fleet.Take(m.Topic, m.Payload, m.Retained, now)
	var err error
	switch {
	case v.json:
		_, err = v.out.Write(append(record.Line{Received: now, Topic: m.Topic, Retained: m.Retained, Payload: m.Payload}.Append(nil), '\n'))
	case say && fresh:
		_, err = fmt.Fprintln(v.out, entry)
	}
	return err
}

func (v *viewer) live(ctx context.Context, o client.Options, filters []string) error {
	_, _, tty := terminal(v.out)
	tty = tty && !v.json
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan client.Event, 64) // what comes while a frame is drawn; then the broker waits
	ended := make(chan error, 1)
	go func() {
		ended <- client.Follow(ctx, o, filters, func(e client.Event) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
	}()
	if tty {
		restore := openScreen(v.out)
		defer func() {
			restore()
			_ = v.frame(false)
		}()
	}
	tick := time.NewTicker(redraw)
	defer tick.Stop()
	for {
		select {
		case e := <-events:
			if err := v.event(e, !tty); err != nil {
				return err
			}
		case <-tick.C:
			if tty {
				if err := v.frame(true); err != nil {
					return err
				}
			}
		case err := <-ended:
			return err
		}
	}
}

func (v *viewer) event(e client.Event, say bool) error {
	switch {
	case e.Up != nil:
		v.down = ""
	case e.Down != nil:
		v.down = e.Down.Err.Error()
		if say {
			fmt.Fprintf(v.err, "holdfastctl: watch: %v; next attempt in %s\n", e.Down.Err, e.Down.Retry.Round(100*time.Millisecond))
		}
	case e.Message != nil:
		return v.take(*e.Message, time.Now(), say)
	}
	return nil
}

// frame draws the table, over the one before it or as plain lines.
func (v *viewer) frame(over bool) error {
	width, height, _ := terminal(v.out)
	s := watch.Screen{Broker: v.broker, Width: width, Height: height, Color: true, Down: v.down}
	if !over {
		s.Height = 0
		return v.print(v.fleet.Draw(s, time.Now()))
	}
	lines := v.fleet.Draw(s, time.Now())
	_, err := io.WriteString(v.out, "\x1b[H"+strings.Join(lines, "\x1b[K\r\n")+"\x1b[K\x1b[J")
	return err
}

// openScreen takes the terminal's other screen, without a cursor; the function it returns gives it back.
func openScreen(w io.Writer) func() {
	done := ansi(w)
	fmt.Fprint(w, "\x1b[?1049h\x1b[?25l\x1b[2J")
	return func() {
		fmt.Fprint(w, "\x1b[?25h\x1b[?1049l")
		done()
	}
}
