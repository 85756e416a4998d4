package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	"holdfast/cmd/holdfastctl/internal/client"
)

// connection is what the flags that every command has say.
type connection struct {
	given   settings
	config  string
	timeout time.Duration
	json    bool
}

// settings are what the configuration file may hold.
type settings struct {
	Broker       string `toml:"broker"`
	CA           string `toml:"ca"`
	Cert         string `toml:"cert"`
	Key          string `toml:"key"`
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
}

const defaultBroker = "mqtt://127.0.0.1:1883"

func (c *connection) flags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&c.given.Broker, "broker", "", "`URL` of the broker: mqtt://host:1883 or mqtts://host:8883 (default "+defaultBroker+")")
	f.StringVar(&c.given.CA, "ca", "", "`FILE` of the CA that signed the broker's certificate (default: the system's)")
	f.StringVar(&c.given.Cert, "cert", "", "`FILE` of your certificate")
	f.StringVar(&c.given.Key, "key", "", "`FILE` of its key")
	f.StringVar(&c.given.User, "user", "", "`NAME` to log in with")
	f.StringVar(&c.given.PasswordFile, "password-file", "", "`FILE` that holds the password")
	f.StringVar(&c.config, "config", "", "configuration `FILE` (default "+defaultConfigText()+")")
	f.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long the broker may take to answer")
	f.BoolVar(&c.json, "json", false, "print JSON: one value, or one a line")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &failure{code: exitUsage, err: fmt.Errorf("%s: %w", cmd.CommandPath(), err), hints: []string{cmd.CommandPath() + " --help"}}
	})
}

func defaultConfigText() string {
	return filepath.Join("~", ".config", "holdfast", "ctl.toml")
}

func (c *connection) file() (settings, error) {
	path, must := c.config, c.config != ""
	if !must {
		dir := os.Getenv("XDG_CONFIG_HOME")
		if !filepath.IsAbs(dir) {
			home, err := os.UserHomeDir()
			if err != nil {
				return settings{}, nil // no home, no file in it
			}
			dir = filepath.Join(home, ".config")
		}
		path = filepath.Join(dir, "holdfast", "ctl.toml")
	}
	b, err := os.ReadFile(path)
	if !must && errors.Is(err, fs.ErrNotExist) {
		return settings{}, nil
	}
	if err != nil {
		return settings{}, usage("configuration: %w", err)
	}
	return parseConfig(path, b)
}

// parseConfig reads the file strictly. Files it names are relative to its own directory.
func parseConfig(path string, b []byte) (settings, error) {
	var s settings
	err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&s)
	if unknown := (*toml.StrictMissingError)(nil); errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		e := unknown.Errors[0]
		row, col := e.Position()
		return s, &failure{code: exitUsage, err: fmt.Errorf("configuration: %s:%d:%d: unknown key %s", path, row, col, strings.Join(e.Key(), ".")),
			hints: []string{"the keys are broker, ca, cert, key, user, password_file"}}
	}
	if wrong := (*toml.DecodeError)(nil); errors.As(err, &wrong) {
		row, col := wrong.Position()
		return s, usage("configuration: %s:%d:%d: %s", path, row, col, strings.TrimPrefix(wrong.Error(), "toml: "))
	}
	if err != nil {
		return s, usage("configuration: %s: %w", path, err)
	}
	for _, f := range []*string{&s.CA, &s.Cert, &s.Key, &s.PasswordFile} {
		if *f != "" && !filepath.IsAbs(*f) {
			*f = filepath.Join(filepath.Dir(path), *f)
		}
	}
	return s, nil
}

// dial connects to the broker.
func (c *connection) dial(cmd *cobra.Command) (*client.Client, error) {
	o, err := c.options(cmd)
	if err != nil {
		return nil, err
	}
	return client.Dial(cmd.Context(), o)
}

// options puts flags, environment and file together, in this order.
func (c *connection) options(_ *cobra.Command) (client.Options, error) {
	file, err := c.file()
	if err != nil {
		return client.Options{}, err
	}
	g := c.given
	pick := func(flag, env, file string) string { return cmp.Or(flag, os.Getenv("HOLDFAST_"+env), file) }
	o := client.Options{
		Broker: cmp.Or(pick(g.Broker, "BROKER", file.Broker), defaultBroker),
		CA:     pick(g.CA, "CA", file.CA), Cert: pick(g.Cert, "CERT", file.Cert), Key: pick(g.Key, "KEY", file.Key),
		User: pick(g.User, "USER", file.User), Timeout: c.timeout,
	}
	if !strings.Contains(o.Broker, "s://") {
		// What environment and file say of certificates is meant for another broker than the plain one asked for.
		o.CA, o.Cert, o.Key = g.CA, g.Cert, g.Key
	}
	if path := pick(g.PasswordFile, "PASSWORD_FILE", file.PasswordFile); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return o, usage("password: %w", err)
		}
		o.Password = strings.TrimRight(string(b), "\r\n")
	}
	if o.Password != "" && o.User == "" {
		return o, usage("a password is given, but no --user")
	}
	if c.timeout <= 0 {
		return o, usage("--timeout %s: wants more than 0", c.timeout)
	}
	return o, nil
}
