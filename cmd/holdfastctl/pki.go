package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"holdfast/cmd/holdfastctl/internal/message"
	"holdfast/cmd/holdfastctl/internal/pki"
)

const day = 24 * time.Hour

func newPKI(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Make certificates for brokers, devices and operators",
		Long: `pki is a small certificate authority in a directory (ECDSA P-256). It never overwrites a file. ca.key signs
everything: keep it off the broker and off the devices.`,
		Example: "  holdfastctl pki init\n  holdfastctl pki issue --server hub.local,192.168.1.5\n  holdfastctl pki issue --device gate-7",
	}
	cmd.AddCommand(newPKIInit(c), newPKIIssue(c), newPKIShow(c))
	return cmd
}

func dirArg(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return "pki"
}

// passphrase reads the first line of a file, or asks on a terminal for that of the thing named.
func passphrase(cmd *cobra.Command, of, file string, ask, twice bool) (string, error) {
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", usage("passphrase: %w", err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		if line = strings.TrimRight(line, "\r"); line == "" {
			return "", usage("passphrase: %s is empty", file)
		}
		return line, nil
	}
	f, ok := cmd.InOrStdin().(*os.File)
	if !ask || !ok || !term.IsTerminal(int(f.Fd())) {
		return "", nil
	}
	question := func(text string) (string, error) {
		fmt.Fprint(cmd.ErrOrStderr(), text)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(b), err
	}
	first, err := question("Passphrase of " + of + ": ")
	if err != nil || !twice {
		return first, err
	}
	second, err := question("Once more: ")
	if err == nil && (first != second || first == "") {
		return "", usage("passphrase: empty, or not the same twice")
	}
	return first, err
}

func newPKIInit(c *connection) *cobra.Command {
	var name, file string
	var ask bool
	var days int
	cmd := &cobra.Command{
		Use: "init [DIR]", Short: "Make a certificate authority", Args: cobra.MaximumNArgs(1),
		Long:    "init makes a CA in DIR (default pki): ca.crt, and ca.key with mode 0600.",
		Example: "  holdfastctl pki init\n  holdfastctl pki init --passphrase /media/usb/pki",
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "Holdfast CA", "common name of the CA")
	f.IntVar(&days, "days", 3650, "how long it is valid")
	f.BoolVar(&ask, "passphrase", false, "ask for a passphrase and encrypt the key with it")
	f.StringVar(&file, "passphrase-file", "", "`FILE` whose first line is the passphrase")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		dir := dirArg(args)
		if days < 1 || days > 36500 {
			return usage("--days %d: wants 1 to 36500", days)
		}
		secret, err := passphrase(cmd, "the CA's key", file, ask, true)
		if err != nil {
			return err
		}
		if ask && secret == "" {
			return usage("--passphrase wants a terminal; --passphrase-file works without")
		}
		cert, err := pki.Init(dir, name, secret, time.Now(), time.Duration(days)*day)
		if err != nil {
			return fmt.Errorf("pki init: %w", err)
		}
		certFile, keyFile := pki.CAFiles(dir)
		if c.json {
			return printJSON(cmd.OutOrStdout(), map[string]any{"cert": certFile, "key": keyFile, "not_after": cert.NotAfter, "sha256": fingerprint(cert)})
		}
		fmt.Fprintf(cmd.OutOrStdout(), `%s  the CA's certificate, valid until %s; copy it to every broker and device
%s  the CA's key; keep it here, and keep a copy in a safe place
sha256 %s
next: holdfastctl pki issue --server NAME,IP %s
`, certFile, cert.NotAfter.Format(time.DateOnly), keyFile, fingerprint(cert), dir)
		return nil
	})
	return cmd
}

func newPKIIssue(c *connection) *cobra.Command {
	var device, server, operator, file string
	var days int
	cmd := &cobra.Command{
		Use: "issue (--device ID | --server NAMES | --operator NAME) [DIR]", Short: "Issue a certificate", Args: cobra.MaximumNArgs(1),
		Long:    "issue makes a key and a certificate signed by the CA in DIR (default pki), and says what to copy where.",
		Example: "  holdfastctl pki issue --server hub.local,192.168.1.5\n  holdfastctl pki issue --device gate-7 --days 730\n  holdfastctl pki issue --operator ann",
	}
	f := cmd.Flags()
	f.StringVar(&device, "device", "", "`ID` of a device")
	f.StringVar(&server, "server", "", "`NAMES` of a broker: DNS names and IP addresses, with commas between")
	f.StringVar(&operator, "operator", "", "`NAME` of an operator")
	f.IntVar(&days, "days", 365, "how long it is valid")
	f.StringVar(&file, "passphrase-file", "", "`FILE` whose first line is the passphrase of the CA's key")
	cmd.MarkFlagsMutuallyExclusive("device", "server", "operator")
	cmd.MarkFlagsOneRequired("device", "server", "operator")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		dir := dirArg(args)
		if days < 1 || days > 36500 {
			return usage("--days %d: wants 1 to 36500", days)
		}
		r := pki.Request{Role: pki.Device, Names: []string{device}, Valid: time.Duration(days) * day}
		if server != "" {
			r.Role, r.Names = pki.Server, strings.Split(server, ",")
		} else if operator != "" {
			r.Role, r.Names = pki.Operator, []string{operator}
		}
		sealed, err := pki.Encrypted(dir)
		if err != nil {
			return err
		}
		secret, err := passphrase(cmd, "the CA's key", file, sealed, false)
		if err != nil {
			return err
		}
		out, err := pki.Issue(dir, secret, r, time.Now())
		if err != nil {
			return fmt.Errorf("pki issue: %w", err)
		}
		if c.json {
			return printJSON(cmd.OutOrStdout(), map[string]any{"cert": out.Cert, "key": out.Key, "ca": out.CA,
				"not_after": out.Leaf.NotAfter, "sha256": fingerprint(out.Leaf)})
		}
		return whereTo(cmd.OutOrStdout(), r, out)
	})
	return cmd
}

func whereTo(w io.Writer, r pki.Request, out *pki.Issued) error {
	fmt.Fprintf(w, "%s  valid until %s, sha256 %s\n%s\n", out.Cert, out.Leaf.NotAfter.Format(time.DateOnly), fingerprint(out.Leaf), out.Key)
	var err error
	switch r.Role {
	case pki.Device:
		_, err = fmt.Fprintf(w, "copy %s, %s and %s to /etc/holdfast/ on %s; the key readable by the agent's user alone\n", out.Cert, out.Key, out.CA, r.Names[0])
	case pki.Server:
		_, err = fmt.Fprintf(w, "on the broker: holdfastctl hub --tls-listen :8883 --cert %s --key %s --client-ca %s\n", out.Cert, out.Key, out.CA)
	case pki.Operator:
		_, err = fmt.Fprintf(w, "use it with: --ca %s --cert %s --key %s, or put these into ~/.config/holdfast/ctl.toml\n", out.CA, out.Cert, out.Key)
	}
	return err
}

func newPKIShow(c *connection) *cobra.Command {
	return &cobra.Command{
		Use: "show [DIR | FILE]", Short: "List certificates and how long they last", Args: cobra.MaximumNArgs(1),
		Example: "  holdfastctl pki show\n  holdfastctl pki show /etc/holdfast/device.crt",
		RunE: deed(func(cmd *cobra.Command, args []string) error {
			path := dirArg(args)
			files := []string{path}
			if i, err := os.Stat(path); err != nil || i.IsDir() {
				if files, err = pki.Certs(path); err != nil {
					return err
				}
			}
			for _, f := range files {
				cert, err := pki.ReadCert(f)
				if err != nil {
					return fmt.Errorf("pki show: %w", err)
				}
				if err := showCert(cmd.OutOrStdout(), c.json, f, cert); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func showCert(w io.Writer, asJSON bool, file string, cert *x509.Certificate) error {
	role := "device"
	switch {
	case cert.IsCA:
		role = "ca"
	case len(cert.ExtKeyUsage) > 0 && cert.ExtKeyUsage[0] == x509.ExtKeyUsageServerAuth:
		role = "server"
	case len(cert.Subject.OrganizationalUnit) > 0:
		role = cert.Subject.OrganizationalUnit[0]
	}
	names := cert.DNSNames
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	if asJSON {
		return printJSON(w, map[string]any{"file": file, "role": role, "name": cert.Subject.CommonName, "names": names,
			"not_before": cert.NotBefore, "not_after": cert.NotAfter, "serial": cert.SerialNumber.Text(16), "sha256": fingerprint(cert)})
	}
	left := fmt.Sprintf("%d days left", int(time.Until(cert.NotAfter)/day))
	if time.Now().After(cert.NotAfter) {
		left = "EXPIRED"
	}
	_, err := fmt.Fprintf(w, "%-9s %-24s until %s, %s  %s  %s\n", message.Clean(role, 20), message.Clean(cert.Subject.CommonName, 64),
		cert.NotAfter.Format(time.DateOnly), left, filepath.ToSlash(file), message.Clean(strings.Join(names, " "), 200))
	return err
}

func fingerprint(c *x509.Certificate) string {
	h := sha256.Sum256(c.Raw)
	return hex.EncodeToString(h[:])
}
