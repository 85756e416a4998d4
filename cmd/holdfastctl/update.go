package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/agent"
	"holdfast/cmd/holdfastctl/internal/envelope"
	"holdfast/update"
)

func newUpdate(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Move devices to another release",
		Long: `update gives devices jobs and shows how they stand. What a release is and who vouches for it is the business of
` + "`holdfastctl release`" + `: a device takes nothing that is not signed, whoever asks it to.`,
		Example: "  holdfastctl update push gate-7 pump/2 --repository https://updates.example.com --follow\n  holdfastctl update status gate-7",
	}
	cmd.AddCommand(newPush(c), newUpdateStatus(c), newUpdateWord(c, "pause", "Hold the update of a device where it is"),
		newUpdateWord(c, "resume", "Let a paused update go on"), newUpdateWord(c, "cancel", "Have a device give its update up"), newServe())
	return cmd
}

// A job is what the topic job carries.
type job struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind"`
	Release    string          `json:"release"`
	Repository string          `json:"repository,omitempty"`
	NotBefore  *time.Time      `json:"not_before,omitempty"`
	Window     string          `json:"window,omitempty"`
	Priority   int             `json:"priority,omitempty"`
	Metadata   json.RawMessage `json:"metadata,omitempty"`
}

func newPush(c *connection) *cobra.Command {
	j := job{}
	var notBefore, metadata string
	var follow, clear bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "push DEVICE [NAME/VERSION]",
		Short: "Give a device an update job",
		Long: `push leaves a job for a device: retained, so that one that is away finds it when it comes back. A job takes the place of
one before that is not yet on trial. --follow shows its progress until it is over; interrupting that does not end the job.

Exit codes with --follow: 0 committed, 1 the job ended otherwise, 3 no word within --wait.`,
		Example: `  holdfastctl update push gate-7 pump/2 --repository https://updates.example.com --follow
  holdfastctl update push gate-7 pump/2 --window 22:30-05:00
  holdfastctl update push gate-7 --clear`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: c.completeDevices(1),
	}
	f := cmd.Flags()
	f.StringVar(&j.ID, "id", "", "`ID` of the job (default: a random one)")
	f.StringVar(&j.Kind, "kind", "update", "what is updated: update (the system), agent or content")
	f.StringVar(&j.Repository, "repository", "", "`URL` of the repository (default: the device's own)")
	f.StringVar(&metadata, "metadata", "", "`DIR` of a repository whose signed files go into the job: the device fetches payloads alone")
	f.StringVar(&j.Window, "window", "", "times of day at which the device may restart, such as 22:30-05:00, with Z for UTC")
	f.StringVar(&notBefore, "not-before", "", "`TIME` before which nothing is fetched, such as 2026-12-01T02:00:00Z")
	f.IntVar(&j.Priority, "priority", 0, "a job of a lower one does not take its place")
	f.BoolVar(&follow, "follow", false, "show the progress until the job is over")
	f.DurationVar(&wait, "wait", 0, "with --follow: how long to wait for it to end (default: as long as it takes)")
	f.BoolVar(&clear, "clear", false, "leave no job; one that is under way goes on")
	_ = cmd.MarkFlagDirname("metadata")
	cmd.RunE = deed(func(cmd *cobra.Command, words []string) error {
		if err := deviceArg(words[0]); err != nil {
			return err
		}
		if clear != (len(words) == 1) {
			return usage("push: a device and a release, or a device and --clear")
		}
		if clear {
			return c.publish(cmd, words[0], "job", nil)
		}
		j.Release = words[1]
		if err := update.CheckRelease(j.Release); err != nil {
			return usage("push: %w", err)
		}
		if _, err := update.ParseWindow(j.Window); err != nil {
			return usage("--window: %w", err)
		}
		if notBefore != "" {
			t, err := time.Parse(time.RFC3339, notBefore)
			if err != nil {
				return usage("--not-before %q: wants a time such as 2026-12-01T02:00:00Z", notBefore)
			}
			j.NotBefore = &t
		}
		if metadata != "" {
			var err error
			if j.Metadata, err = inline(metadata, j.Release, j.Repository); err != nil {
				return fmt.Errorf("--metadata: %w", err)
			}
			j.Repository = "inline"
		}
		if j.ID == "" {
			j.ID = "job-" + rand.Text()[:10]
		}
		return c.push(cmd, words[0], j, follow, wait)
	})
	return cmd
}

// publish leaves a retained message on a topic of a device.
func (c *connection) publish(cmd *cobra.Command, device, part string, body []byte) error {
	mq, err := c.dial(cmd)
	if err != nil {
		return err
	}
	defer mq.Close()
	return mq.Publish(cmd.Context(), "holdfast/"+device+"/"+part, body, true)
}

func (c *connection) push(cmd *cobra.Command, device string, j job, follow bool, wait time.Duration) error {
	body, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if len(body) > 60<<10 {
		return usage("a job of %d bytes, at most 61440 are taken", len(body))
	}
	ctx := cmd.Context()
	mq, err := c.dial(cmd)
	if err != nil {
		return err
	}
	defer mq.Close()
	if follow {
		if err := mq.Subscribe(ctx, "holdfast/"+device+"/job/status"); err != nil {
			return err
		}
	}
	if err := mq.Publish(ctx, "holdfast/"+device+"/job", body, true); err != nil {
		return err
	}
	if !follow {
		if c.json {
			return printJSON(cmd.OutOrStdout(), j)
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: job %s: %s\n", device, j.ID, j.Release)
		return err
	}
	return c.follow(ctx, cmd, mq, device, j.ID, wait)
}

func newUpdateStatus(c *connection) *cobra.Command {
	var follow bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "status DEVICE",
		Short: "Show how the last update of a device stands",
		Long: `status shows the last word of a device about its updates, which the broker keeps. --follow goes on until the job is over.

Exit codes with --follow: 0 committed, 1 the job ended otherwise, 3 no word within --wait.`,
		Example:           "  holdfastctl update status gate-7\n  holdfastctl update status gate-7 --follow",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeDevices(1),
		RunE: deed(func(cmd *cobra.Command, words []string) error {
			if err := deviceArg(words[0]); err != nil {
				return err
			}
			mq, err := c.dial(cmd)
			if err != nil {
				return err
			}
			defer mq.Close()
			kept, err := mq.Retained(cmd.Context(), "holdfast/"+words[0]+"/job/status")
			if err != nil {
				return err
			}
			if len(kept) == 0 {
				return hinted(fmt.Errorf("%s has said nothing about updates", words[0]), "holdfastctl watch --once "+words[0]+" shows whether it is there")
			}
			var s agent.UpdateStatus
			if err := json.Unmarshal(kept[0].Payload, &s); err != nil {
				return fmt.Errorf("%s: its status is not JSON", words[0])
			}
			if follow {
				if err := mq.Subscribe(cmd.Context(), "holdfast/"+words[0]+"/job/status"); err != nil { // says again what it keeps
					return err
				}
				return c.follow(cmd.Context(), cmd, mq, words[0], s.ID, wait)
			}
			shown := ""
			return c.show(cmd, words[0], s, false, &shown)
		}),
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "show the progress until the job is over")
	cmd.Flags().DurationVar(&wait, "wait", 0, "with --follow: how long to wait for it to end (default: as long as it takes)")
	return cmd
}

// newUpdateWord is a command that gives a device the command of the same name.
func newUpdateWord(c *connection, word, short string) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:               word + " DEVICE",
		Short:             short,
		Example:           "  holdfastctl update " + word + " gate-7",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.completeDevices(1),
	}
	cmd.Flags().StringVar(&kind, "kind", "system", "what is updated: system, agent or content")
	cmd.RunE = deed(func(cmd *cobra.Command, words []string) error {
		device := words[0]
		if err := deviceArg(device); err != nil {
			return err
		}
		mq, err := c.dial(cmd)
		if err != nil {
			return err
		}
		defer mq.Close()
		issuer := self()
		seq, err := nextSeq(cmd.Context(), issuer, device)
		if err != nil {
			return err
		}
		e := envelope.New(issuer, seq, "update."+word, map[string]any{"kind": kind}, time.Now(), time.Minute)
		r, err := ask(cmd.Context(), mq, device, e, time.Minute+5*time.Second)
		if err != nil {
			return err
		}
		if c.json || !r.OK {
			return showResult(cmd, c.json, device, "update."+word, r)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", device)
		return err
	})
	return cmd
}

func newServe() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "serve DIR",
		Short: "Serve a repository over HTTP, for a quick try",
		Long: `serve serves the public parts of a repository, metadata, targets and payload, until it is interrupted. Any web server or
CDN does the same; devices trust neither it nor the line.`,
		Example: "  holdfastctl update serve repo --listen :8080",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "`ADDRESS` to listen on")
	cmd.RunE = deed(func(cmd *cobra.Command, words []string) error {
		if _, err := os.Stat(filepath.Join(words[0], "metadata")); err != nil {
			return hinted(fmt.Errorf("%s is no repository: %w", words[0], err), "holdfastctl release init makes one")
		}
		ln, err := net.Listen("tcp", listen)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "serving %s at http://%s/\n", words[0], ln.Addr())
		return serveRepository(cmd.Context(), ln, words[0], cmd.ErrOrStderr())
	})
	return cmd
}

// serveRepository serves the public parts of a directory until ctx ends.
func serveRepository(ctx context.Context, ln net.Listener, dir string, log io.Writer) error {
	files := http.FileServer(http.Dir(dir))
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(slog.NewTextHandler(log, nil), slog.LevelWarn),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			part, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
			if (part != "metadata" && part != "targets" && part != "payload") || strings.HasSuffix(r.URL.Path, "/") {
				http.NotFound(w, r)
				return
			}
			if part == "metadata" {
				w.Header().Set("Cache-Control", "no-cache")
			}
			files.ServeHTTP(w, r)
		}),
	}
	release := context.AfterFunc(ctx, func() { server.Close() })
	defer release()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
