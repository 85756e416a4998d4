package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"holdfast/cmd/holdfastctl/internal/client"
	"holdfast/cmd/holdfastctl/internal/hub"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"holdfastctl": main,
		"set-cpu-60":  func() { rewrite(`{"cpu":60}`) },  // an editor
		"write-trash": func() { rewrite(`{"cpu":60`) },   // a bad one
		"leave-it-be": func() {},                         // one that changes nothing
		"poke":        func() { os.Exit(poke(os.Args)) }, // publish, by an operator without holdfastctl
	})
}

func rewrite(text string) {
	if err := os.WriteFile(os.Args[len(os.Args)-1], []byte(text), 0o600); err != nil {
		panic(err)
	}
}

func poke(args []string) int {
	c, err := client.Dial(context.Background(), client.Options{Broker: os.Getenv("HOLDFAST_BROKER")})
	if err == nil {
		defer c.Close()
		err = c.Publish(context.Background(), args[1], []byte(args[2]), len(args) > 3)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else every command of a script takes a second more under -race
			env.Setenv("USERPROFILE", home)
			env.Setenv("XDG_STATE_HOME", filepath.Join(home, "state"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
			return os.MkdirAll(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"hub":    startHub,
			"device": startDevice,
			"code":   exitCode,
			"await":  awaitFile,
			"repeat": repeatText,
		},
	})
}

// startHub runs a hub in this process until the script ends: hub.
func startHub(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan hub.Addrs, 1), make(chan error, 1)
	go func() { ended <- hub.Run(ctx, hub.Options{Listen: "127.0.0.1:0"}, func(a hub.Addrs) { ready <- a }) }()
	ts.Defer(func() { cancel(); <-ended })
	select {
	case a := <-ready:
		ts.Setenv("HOLDFAST_BROKER", "mqtt://"+a.Plain)
	case err := <-ended:
		ts.Fatalf("hub: %v", err)
	}
}

// exitCode runs a command and demands its exit code: code 3 holdfastctl ...
func exitCode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// repeatText appends a text to a file so many times, with its number where it has @, and a line break for \n: repeat FILE TIMES TEXT.
func repeatText(ts *testscript.TestScript, _ bool, args []string) {
	times, err := strconv.Atoi(args[1])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	ts.Check(err)
	w := bufio.NewWriter(f)
	for i := range times {
		text := strings.NewReplacer("@", strconv.Itoa(i), `\n`, "\n")
		_, err = w.WriteString(text.Replace(args[2]))
		ts.Check(err)
	}
	ts.Check(w.Flush())
	ts.Check(f.Close())
}

// awaitFile waits until a file below a directory holds a text: await DIR TEXT.
func awaitFile(ts *testscript.TestScript, _ bool, args []string) {
	for range 2000 {
		names, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
		ts.Check(err)
		for _, n := range names {
			if b, err := os.ReadFile(n); err == nil && strings.Contains(string(b), args[1]) {
				return
			}
		}
		time.Sleep(10 * time.Millisecond) // another process writes it: there is nothing else to wait on
	}
	ts.Fatalf("no file in %s has %q", args[0], args[1])
}

// fake is a device as the plain dialect describes it, of which a script can say how it behaves.
type fake struct {
	c  *client.Client
	id string
}

// startDevice runs a fake until the script ends: device ID. It refuses what is desired of "memory" above 100 and of
// "relays", applies the rest, obeys "ping" and "echo", has no other command, and says nothing to "sulk".
func startDevice(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithCancel(context.Background())
	c, err := client.Dial(ctx, client.Options{Broker: ts.Getenv("HOLDFAST_BROKER"), ID: args[0]})
	ts.Check(err)
	f := &fake{c, args[0]}
	ts.Check(c.Subscribe(ctx, f.topic("shadow/desired"), f.topic("command")))
	ts.Check(f.say("status", `{"online":true,"since":"2026-01-02T03:04:05Z","agent":"1.0.0"}`, true))
	ts.Check(f.say("shadow/reported", `{"version":0,"state":{"cpu":12,"memory":34}}`, true))
	var wg sync.WaitGroup
	wg.Go(func() { f.serve(ctx) })
	ts.Defer(func() { cancel(); wg.Wait(); c.Close() })
}

func (f *fake) topic(kind string) string { return "holdfast/" + f.id + "/" + kind }

func (f *fake) say(kind, payload string, retain bool) error {
	return f.c.Publish(context.Background(), f.topic(kind), []byte(payload), retain)
}

func (f *fake) serve(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-f.c.Messages():
			var err error
			if strings.HasSuffix(m.Topic, "desired") {
				err = f.desired(m.Payload)
			} else {
				err = f.command(m.Payload)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "fake device:", err)
			}
		}
	}
}

func (f *fake) desired(payload []byte) error {
	var d struct {
		Epoch   string         `json:"epoch"`
		Version int64          `json:"version"`
		State   map[string]any `json:"state"`
	}
	if err := json.Unmarshal(payload, &d); err != nil {
		return err
	}
	refused := map[string]string{}
	if m, _ := d.State["memory"].(float64); m > 100 {
		refused["memory"] = "wants 0 to 100"
		delete(d.State, "memory")
	}
	if _, ok := d.State["relays"]; ok {
		refused["relays"] = "no\x1b[2J such line"
		delete(d.State, "relays")
	}
	if d.State["quiet"] == true {
		return nil
	}
	d.State["uptime"] = 7
	b, err := json.Marshal(map[string]any{"epoch": d.Epoch, "version": d.Version, "state": d.State, "refused": refused})
	if err != nil {
		return err
	}
	return f.say("shadow/reported", string(b), true)
}

func (f *fake) command(payload []byte) error {
	var e struct {
		ID, Name, Issuer string
		Seq              uint64
		Expires          time.Time
		Args             json.RawMessage
	}
	if err := json.Unmarshal(payload, &e); err != nil {
		return err
	}
	answer := map[string]any{"id": e.ID, "ok": true}
	switch e.Name {
	case "ping":
		answer["result"] = map[string]any{"seq": e.Seq, "issuer": e.Issuer}
	case "echo":
		answer["result"] = map[string]any{"args": e.Args, "lines": []string{"one\x1b[2J", "two"}}
	case "sulk":
		return nil
	default:
		answer["ok"], answer["error"] = false, "no command "+e.Name
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	return f.say("command/result", string(b), false)
}

func TestConfigurationIsReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"broker = 'mqtt://h'\ncertt = 'x'\n": "ctl.toml:2:1: unknown key certt",
		"broker = 7\n":                       "ctl.toml:1:10: ",
		"broker = \n":                        "ctl.toml:1:1",
	} {
		_, err := parseConfig("ctl.toml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	s, err := parseConfig(filepath.Join("a", "ctl.toml"), []byte("ca = 'ca.crt'\nuser = 'ann'\n"))
	if err != nil || s.CA != filepath.Join("a", "ca.crt") || s.User != "ann" {
		t.Errorf("%+v, %v", s, err)
	}
}

// Every command has an example, and a sentence that says what it does.
func TestEveryCommandShowsHowItIsUsed(t *testing.T) {
	for _, path := range [][]string{{"hub"}, {"hub", "password"}, {"pki"}, {"pki", "init"}, {"pki", "issue"}, {"pki", "show"}, {"watch"},
		{"shadow"}, {"shadow", "get"}, {"shadow", "set"}, {"shadow", "diff"}, {"shadow", "edit"}, {"release"}, {"release", "init"}, {"release", "keys"}, {"release", "keys", "list"}, {"release", "keys", "new"},
		{"release", "keys", "export"}, {"release", "keys", "passphrase"}, {"release", "add"}, {"release", "sign"}, {"release", "publish"}, {"release", "verify"},
		{"release", "rotate"}, {"release", "list"}, {"release", "operators"}, {"update"}, {"update", "push"}, {"update", "status"},
		{"update", "pause"}, {"update", "resume"}, {"update", "cancel"}, {"update", "serve"}, {"model"}, {"model", "train"}, {"model", "import"}, {"model", "eval"}, {"model", "explain"}, {"model", "info"}, {"delta"}, {"command"}, {"rules"}, {"rules", "check"}, {"rules", "test"}, {"rules", "explain"}, {"rules", "fmt"}, {"rules", "bench"},
		{"rules", "replay"}, {"record"}, {"man"}, {"version"}} {
		var out strings.Builder
		if code := run(append(path, "--help"), nil, &out, io.Discard); code != 0 || !strings.Contains(out.String(), "Examples:") {
			t.Errorf("%v --help: code %d, %s", path, code, out.String())
		}
	}
}

func TestBrokerThatIsNotThereIsHintedAt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var errOut strings.Builder
	code := run([]string{"watch", "--once", "--broker", "mqtt://" + l.Addr().String()}, nil, io.Discard, &errOut)
	if code != 1 || !strings.HasPrefix(errOut.String(), "holdfastctl: connect to 127.0.0.1") || !strings.Contains(errOut.String(), "\nhint: is a broker running there?") {
		t.Errorf("code %d: %s", code, errOut.String())
	}
}
