package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/keyring"
	"holdfast/cmd/holdfastctl/internal/repo"
)

// A release command is what the flags say that they all have.
type release struct {
	*connection
	keys, passphrase string
	work             int
	expiry           []string
}

func newRelease(c *connection) *cobra.Command {
	r := &release{connection: c}
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Keep a repository of signed releases",
		Long: `release makes what devices update from: a directory that any web server or CDN serves. Devices believe the signatures in it
and nothing else. The keys lie elsewhere (--keys), each encrypted with a passphrase in the format of age.

What changes is staged first, in DIR/staging, signed by as many people as its role demands, on one machine or several, and
then published. Nothing that is published is ever half there.`,
		Example: `  holdfastctl release init repo
  holdfastctl release add repo pump/1.4.0 --compatible acme,pump-2 --image root=root.img
  holdfastctl release sign repo && holdfastctl release publish repo
  holdfastctl release verify repo --deep`,
	}
	f := cmd.PersistentFlags()
	f.StringVar(&r.keys, "keys", "", "`DIR` of the keys (default "+filepath.Join("~", ".config", "holdfast", "keys")+")")
	f.StringVar(&r.passphrase, "passphrase-file", "", "`FILE` whose first line is the keys' passphrase (default: HOLDFAST_PASSPHRASE_FILE, else it is asked for)")
	f.IntVar(&r.work, "work", keyring.DefaultWork, "cost of a guess at the passphrase of a key made now, as a power of two, 10 to 22")
	f.StringSliceVar(&r.expiry, "expiry", nil, "how long signatures made now are good for, as `ROLE=DAYS`; by default root=1825, targets=365, content=365, snapshot=30, timestamp=30")
	cmd.AddCommand(newReleaseInit(r), newReleaseKeys(r), newReleaseAdd(r), newReleaseSign(r), newReleasePublish(r), newReleaseVerify(r), newReleaseRotate(r), newReleaseList(r), newReleaseOperators(r))
	return cmd
}

func (r *release) ring(cmd *cobra.Command) (*keyring.Ring, error) {
	dir := r.keys
	if dir == "" {
		dir = os.Getenv("XDG_CONFIG_HOME")
		if !filepath.IsAbs(dir) {
			home, err := os.UserHomeDir()
			if err != nil {
				return nil, hinted(fmt.Errorf("directory of keys: %w", err), "--keys DIR")
			}
			dir = filepath.Join(home, ".config")
		}
		dir = filepath.Join(dir, "holdfast", "keys")
	}
	if r.work < 10 || r.work > 22 {
		return nil, usage("--work %d: wants 10 to 22", r.work)
	}
	return &keyring.Ring{Dir: dir, Work: r.work, Ask: func(fresh bool) (string, error) {
		return passphrase(cmd, "the keys in "+dir, cmp.Or(r.passphrase, os.Getenv("HOLDFAST_PASSPHRASE_FILE")), true, fresh)
	}}, nil
}

func (r *release) repo(cmd *cobra.Command, dir string) (*repo.Repo, error) {
	ring, err := r.ring(cmd)
	if err != nil {
		return nil, err
	}
	out := &repo.Repo{Dir: dir, Ring: ring, Life: map[string]time.Duration{}}
	for _, e := range r.expiry {
		role, days, _ := strings.Cut(e, "=")
		n, err := strconv.Atoi(days)
		if err != nil || n < 1 || n > 36500 || repo.Lives[role] == 0 {
			return nil, usage("--expiry %s: wants a role and 1 to 36500 days, such as timestamp=7", e)
		}
		out.Life[role] = time.Duration(n) * day
	}
	return out, nil
}

func newReleaseInit(r *release) *cobra.Command {
	c := repo.Ceremony{Keys: map[string]int{}, Threshold: map[string]int{}}
	var counts, thresholds [3]int
	var given []string
	cmd := &cobra.Command{
		Use: "init DIR", Short: "Make a repository and its keys", Args: cobra.ExactArgs(1),
		Long: `init is the key ceremony. It makes a key for each role, two for root, and the first file of each role. Keys that others
made with ` + "`release keys new`" + ` are named with --key, and count.

The file 1.root.json is what devices trust from the beginning: put it into the image. The keys of root are needed once in
years: move all but one of them to other machines, or to a medium in a safe.`,
		Example: `  holdfastctl release init repo
  holdfastctl release init repo --root-keys 3 --root-threshold 2 --key ann.pub --key bob.pub`,
	}
	f := cmd.Flags()
	for i, role := range []string{"root", "targets", Content} {
		f.IntVar(&counts[i], role+"-keys", map[string]int{"root": 2}[role]+map[bool]int{true: 1}[role != "root"], "how many keys "+role+" has")
		f.IntVar(&thresholds[i], role+"-threshold", 1, "how many of them have to sign")
	}
	f.StringArrayVar(&given, "key", nil, "`FILE` of a public key that was made elsewhere; may come more than once")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		rp, err := r.repo(cmd, args[0])
		if err != nil {
			return err
		}
		if c.Given, err = publicKeys(given); err != nil {
			return err
		}
		for i, role := range []string{"root", "targets", Content} {
			if counts[i] < 1 || thresholds[i] < 1 || thresholds[i] > counts[i] {
				return usage("--%s-threshold %d: of %d keys", role, thresholds[i], counts[i])
			}
			c.Keys[role], c.Threshold[role] = counts[i], thresholds[i]
		}
		signings, err := rp.Init(c)
		if err != nil {
			return fmt.Errorf("release init: %w", err)
		}
		if !complete(signings) {
			return r.showSignings(cmd, args[0], signings)
		}
		p, err := rp.Publish()
		if err != nil {
			return err
		}
		if r.json {
			return printJSON(cmd.OutOrStdout(), p)
		}
		anchor := filepath.Join(args[0], "metadata", "1.root.json")
		fmt.Fprintf(cmd.OutOrStdout(), `%s  the keys; keep copies elsewhere, and those of root off this machine
%s  what devices trust from the beginning: put it into the image as /etc/holdfast/root.json
%s  the repository; metadata/, targets/ and payload/ are to be served
next: holdfastctl release add %s NAME/VERSION --compatible BOARD --image PART=FILE
`, rp.Ring.Dir, anchor, args[0], args[0])
		return nil
	})
	return cmd
}

// Content is the delegated role.
const Content = repo.Content

func publicKeys(files []string) (keys []keyring.Key, err error) {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		k, err := keyring.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func complete(all []repo.Signing) bool {
	return !slices.ContainsFunc(all, func(s repo.Signing) bool { return len(s.Wants) > 0 })
}

// showSignings says how far the staged files are signed, and what is next.
func (r *release) showSignings(cmd *cobra.Command, dir string, all []repo.Signing) error {
	if r.json {
		return printJSON(cmd.OutOrStdout(), all)
	}
	w := cmd.OutOrStdout()
	for _, s := range all {
		fmt.Fprintf(w, "%s  %s\n", s.File, strings.Join(s.What, "; "))
		fmt.Fprintf(w, "  signed by %d, %d of them now\n", len(s.Signed), s.New)
		for _, want := range s.Wants {
			fmt.Fprintf(w, "  wants %d more for %s, of:", want.More, want.For)
			for _, id := range want.Keys {
				fmt.Fprintf(w, " %.16s", id)
			}
			fmt.Fprintln(w)
		}
	}
	switch {
	case len(all) == 0:
		fmt.Fprintln(w, "nothing is staged")
	case complete(all):
		fmt.Fprintf(w, "next: holdfastctl release publish %s\n", dir)
	default:
		fmt.Fprintf(w, "next: holdfastctl release sign %s, where the missing keys are; %s travels with its directory staging\n", dir, dir)
	}
	return nil
}

func newReleaseSign(r *release) *cobra.Command {
	var role string
	var renew bool
	cmd := &cobra.Command{
		Use: "sign DIR", Short: "Sign what is staged with the keys that are here", Args: cobra.ExactArgs(1),
		Long: `sign shows what is staged and adds the signatures of all keys that are here and wanted. Where a role demands several
signatures, DIR goes from machine to machine (its directories metadata and staging are enough), and each signs.`,
		Example: "  holdfastctl release sign repo\n  holdfastctl release sign repo --role root --renew",
	}
	cmd.Flags().StringVar(&role, "role", "", "only what `ROLE` signs: root, targets or content")
	cmd.Flags().BoolVar(&renew, "renew", false, "with --role: stage its file anew, for the sake of its date")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		if role != "" && role != "root" && role != "targets" && role != Content || renew && role == "" {
			return usage("--role %q: wants root, targets or content", role)
		}
		rp, err := r.repo(cmd, args[0])
		if err != nil {
			return err
		}
		all, err := rp.Sign(role, renew)
		if err != nil {
			return fmt.Errorf("release sign: %w", err)
		}
		return r.showSignings(cmd, args[0], all)
	})
	return cmd
}

func newReleasePublish(r *release) *cobra.Command {
	var refresh bool
	cmd := &cobra.Command{
		Use: "publish DIR", Short: "Put what is staged and signed in force", Args: cobra.ExactArgs(1),
		Long: `publish signs snapshot and timestamp and puts the files in their places, so that whoever reads meanwhile finds either what
was there or what will be. Before that it has the device's own verifier read all of it. Interrupted, it goes on when it is
called again.

With --refresh it leaves alone what is staged and signs the timestamp anew: let cron do that, well before the 30 days are
over. The keys of snapshot and timestamp are enough for it.`,
		Example: "  holdfastctl release publish repo\n  holdfastctl release publish repo --refresh --keys /etc/holdfast/keys --passphrase-file /etc/holdfast/passphrase",
	}
	cmd.Flags().BoolVar(&refresh, "refresh", false, "only sign anew what is in force")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		rp, err := r.repo(cmd, args[0])
		if err != nil {
			return err
		}
		publish := rp.Publish
		if refresh {
			publish = rp.Refresh
		}
		p, err := publish()
		if err != nil {
			return fmt.Errorf("release publish: %w", err)
		}
		return r.showPublished(cmd, p)
	})
	return cmd
}

func (r *release) showPublished(cmd *cobra.Command, p *repo.Published) error {
	for _, warning := range p.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+warning)
	}
	if r.json {
		return printJSON(cmd.OutOrStdout(), p)
	}
	for _, name := range p.Releases {
		fmt.Fprintln(cmd.OutOrStdout(), "published "+name)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "timestamp %d, good until %s; %d files\n", p.Versions["timestamp"], p.Refreshed.Format(time.DateOnly), len(p.Files))
	return err
}

func newReleaseRotate(r *release) *cobra.Command {
	c := repo.Rotation{}
	var given []string
	cmd := &cobra.Command{
		Use: "rotate DIR --role ROLE", Short: "Give a role new keys", Args: cobra.ExactArgs(1),
		Long: `rotate replaces the keys of a role, or with --lost some of them, by new ones made here or, with --key, elsewhere. It stages
the next root, signed with the keys that are here; sign and publish follow. Devices take the next root when as many of the
old root's keys signed it as the old root demands: while these are there, any loss can be mended.

For every role but root two roots are staged: one that accepts old and new keys, and one that accepts the new alone. Between
the two the rest changes over, so that no reader ever finds files that do not go together.`,
		Example: `  holdfastctl release rotate repo --role timestamp
  holdfastctl release rotate repo --role root --lost 3f2a9c --key carol.pub
  holdfastctl release rotate repo --role targets --number 3 --threshold 2`,
	}
	f := cmd.Flags()
	f.StringVar(&c.Role, "role", "", "`ROLE` whose keys change: root, targets, snapshot, timestamp or content")
	f.StringArrayVar(&c.Lost, "lost", nil, "`KEYID` of a key that is lost or stolen, or its first digits; without, all of the role's keys go")
	f.StringArrayVar(&given, "key", nil, "`FILE` of a public key that was made elsewhere; may come more than once")
	f.IntVar(&c.Number, "number", 0, "how many keys the role has afterwards (default: as many as before)")
	f.IntVar(&c.Threshold, "threshold", 0, "how many of them have to sign (default: as many as before)")
	_ = cmd.MarkFlagRequired("role")
	cmd.RunE = deed(func(cmd *cobra.Command, args []string) error {
		rp, err := r.repo(cmd, args[0])
		if err != nil {
			return err
		}
		if c.Given, err = publicKeys(given); err != nil {
			return err
		}
		all, err := rp.Rotate(c)
		if err != nil {
			return fmt.Errorf("release rotate: %w", err)
		}
		return r.showSignings(cmd, args[0], all)
	})
	return cmd
}

// bar shows the progress of something with the time left, on a terminal alone.
func bar(cmd *cobra.Command) func(what string) (step func(done, total int64), end func()) {
	out := cmd.ErrOrStderr()
	if _, _, ok := terminal(out); !ok {
		return nil
	}
	return func(what string) (func(int64, int64), func()) {
		var b *progressbar.ProgressBar
		return func(done, total int64) {
				if b == nil {
					b = progressbar.NewOptions64(total, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
						progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(100*time.Millisecond),
						progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
				}
				_ = b.Set64(done)
			}, func() {
				if b != nil {
					_ = b.Finish()
				}
			}
	}
}
