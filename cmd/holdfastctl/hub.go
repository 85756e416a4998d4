package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/hub"
)

func newHub(c *connection) *cobra.Command {
	var o hub.Options
	var clientCA, users string
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run a broker",
		Long: `hub runs an MQTT broker until it is interrupted: for trying Holdfast out, for a site, for CI.

Without flags it listens on 127.0.0.1:1883 and takes everybody there as an operator. With --tls-listen, --cert and --key
are the hub's own certificate, and with --client-ca clients are known by theirs: common name = device id, which gives the device its own topics and no others;
organizational unit "operator", or a common name that begins with operator, gives everything. What is denied is
acknowledged, dropped, and told in the log. Sessions, queued and retained messages are kept in --state.`,
		Example: `  holdfastctl hub
  holdfastctl hub --tls-listen :8883 --cert pki/servers/hub.crt --key pki/servers/hub.key --client-ca pki/ca.crt
  holdfastctl hub --listen :1883 --users users.txt`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.Listen, "listen", "127.0.0.1:1883", "`ADDRESS` of the plain listener; none where only --tls-listen is given")
	f.StringVar(&o.ListenTLS, "tls-listen", "", "`ADDRESS` of the TLS listener")
	f.StringVar(&clientCA, "client-ca", "", "`FILE` of the CA that signs the certificates of devices and operators")
	f.StringVar(&users, "users", "", "`FILE` of names and passwords, as hub password prints them, for clients without a certificate")
	f.StringVar(&o.State, "state", "", "`DIR` for what outlives a restart; - keeps everything in memory (default "+filepath.Join("~", ".local", "state", "holdfast", "hub")+")")
	f.IntVar(&o.Limits.InFlight, "queue", 0, "messages kept for one absent client (default 4096)")
	f.IntVar(&o.Limits.PacketBytes, "packet-bytes", 0, "largest MQTT packet (default 1 MiB)")
	f.IntVar(&o.Limits.Clients, "clients", 0, "connections at once (default 10000)")
	cmd.RunE = deed(func(cmd *cobra.Command, _ []string) error {
		if o.ListenTLS != "" && !f.Changed("listen") {
			o.Listen = ""
		}
		if err := hubState(&o); err != nil {
			return err
		}
		if err := hubTrust(&o, c.given.Cert, c.given.Key, clientCA, users); err != nil {
			return err
		}
		return runHub(cmd.Context(), c, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
	cmd.AddCommand(newHubPassword())
	return cmd
}

func hubState(o *hub.Options) error {
	switch o.State {
	case "-":
		o.State = ""
	case "":
		dir, err := stateDir()
		if err != nil {
			return err
		}
		o.State = filepath.Join(dir, "hub")
	}
	return nil
}

func hubTrust(o *hub.Options, cert, key, clientCA, users string) error {
	if users != "" {
		b, err := os.ReadFile(users)
		if err != nil {
			return usage("users: %w", err)
		}
		if o.Users, err = hub.ReadUsers(b); err != nil {
			return usage("users: %s: %w", users, err)
		}
	}
	if o.ListenTLS == "" {
		if cert != "" || clientCA != "" {
			return usage("a certificate or client CA is given, but no --tls-listen")
		}
		return nil
	}
	if cert == "" || key == "" {
		return &failure{code: exitUsage, err: fmt.Errorf("--tls-listen needs --cert and --key"),
			hints: []string{"holdfastctl pki init && holdfastctl pki issue --server NAME,IP"}}
	}
	t, err := hub.ServerTLS(cert, key, clientCA, o.Users != nil)
	if err != nil {
		return usage("%w", err)
	}
	o.TLS = t
	return nil
}

func runHub(ctx context.Context, c *connection, o hub.Options, out, errOut io.Writer) error {
	var h slog.Handler = slog.NewTextHandler(errOut, &slog.HandlerOptions{ReplaceAttr: shortTime})
	if c.json {
		h = slog.NewJSONHandler(errOut, nil)
	}
	o.Log = slog.New(h)
	err := hub.Run(ctx, o, func(a hub.Addrs) {
		if c.json {
			_ = printJSON(out, map[string]string{"plain": a.Plain, "tls": a.TLS, "state": o.State})
			return
		}
		for _, l := range []struct{ scheme, addr string }{{"mqtt", a.Plain}, {"mqtts", a.TLS}} {
			if l.addr != "" {
				fmt.Fprintf(out, "listening on %s://%s\n", l.scheme, l.addr)
			}
		}
		if o.State == "" {
			fmt.Fprintln(out, "state is kept in memory only")
		} else {
			fmt.Fprintln(out, "state is kept in", o.State)
		}
	})
	if err != nil && strings.Contains(err.Error(), "address already in use") {
		return hinted(err, "another broker runs there; --listen 127.0.0.1:0 takes any free port")
	}
	if err == nil {
		o.Log.Info("stopped")
	}
	return err
}

func shortTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.String(slog.TimeKey, a.Value.Time().Format("15:04:05.000"))
	}
	return a
}

func newHubPassword() *cobra.Command {
	return &cobra.Command{
		Use:     "password NAME",
		Short:   "Print a line for the hub's file of users",
		Long:    "password reads a password from standard input, one line, and prints the line for the file that hub --users reads.\nA name that begins with operator may everything; any other is a device's id.",
		Example: "  holdfastctl hub password gate-7 < password.txt >> users.txt",
		Args:    cobra.ExactArgs(1),
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			sc := bufio.NewScanner(cmd.InOrStdin())
			sc.Scan()
			line, err := hub.HashPassword(args[0], sc.Text())
			if err != nil {
				return usage("%w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), line)
			return err
		}),
	}
}
