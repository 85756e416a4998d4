package wire_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"holdfast/board/linux"
	"holdfast/cmd/internal/config"
	"holdfast/cmd/internal/wire"
)

// options are those of an agent in directories of its own, with a broker that is not there.
func options(t *testing.T) wire.Options {
	c := config.Default()
	c.ID, c.StateDir, c.RunDir = "bench", t.TempDir(), t.TempDir()
	c.Broker.URLs = []string{"mqtt://127.0.0.1:1"}
	return wire.Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler), Level: new(slog.LevelVar)}
}

// lines hands on each line that is written.
type lines chan<- string

func (l lines) Write(b []byte) (int, error) {
	l <- string(bytes.TrimSpace(b))
	return len(b), nil
}

func TestTheUnitsOfTheFileAreWatchedFromTheStart(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/none")
	said := make(chan string, 1000) // more than it says
	o := options(t)
	o.Config.Units.Watch = []string{"ssh.service"}
	o.Log = slog.New(slog.NewTextHandler(lines(said), nil))
	r, err := wire.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	for line := range said {
		if strings.Contains(line, "source=units") { // without a bus the units cannot be asked for, which is told; that there are some is the point
			if strings.Contains(line, "no units are watched") {
				t.Error(line)
			}
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestUnitsThatCannotBeWatchedAreWrongConfiguration(t *testing.T) {
	for _, watch := range [][]string{{"../x"}, {"a.service", "a.service"}} {
		o := options(t)
		o.Config.Units.Watch = watch
		_, err := wire.Run(o)
		if _, ok := err.(*config.Error); !ok || !strings.Contains(err.Error(), "units.watch: ") {
			t.Errorf("%q: %v", watch, err)
		}
	}
}

func TestASecondAgentStaysOffTheStateOfTheFirst(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/none")
	o := options(t)
	first, err := wire.Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.Run(o); !errors.Is(err, linux.ErrClaimed) || !strings.Contains(err.Error(), o.Config.StateDir) {
		t.Errorf("a second agent: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := first.Run(ctx); err != nil {
		t.Fatal(err)
	}
	next, err := wire.Run(o)
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	if err := next.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestTheConfigurationKnowsEveryCollectorThatThereIs(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+t.TempDir()+"/none")
	o := options(t)
	o.Config.Lines = map[string]config.Line{"pump": {Driver: "sim"}}
	o.Config.I2C = map[string]config.I2C{"cellar": {Bus: "/dev/i2c-1", Chip: "bme280"}}
	run := func(name string) error {
		o.Config.Collectors = map[string]config.Collector{name: {}}
		r, err := wire.Run(o)
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(t.Context())
		stop()
		return r.Run(ctx)
	}
	e, ok := run("cpuu").(*config.Error)
	if !ok || !strings.Contains(e.Problem, "collectors.cpuu: no such collector") || e.Hint != `did you mean "cpu"?` {
		t.Fatalf("error = %#v", e)
	}
	for _, name := range config.CollectorNames() { // the state is let go of each time
		if err := run(name); err != nil {
			t.Error(err)
		}
	}
	e, ok = run("#").(*config.Error)
	if !ok {
		t.Fatal("# is no collector")
	}
	list, _ := strings.CutPrefix(e.Hint, "the collectors of this board are ")
	for name := range strings.SplitSeq(list, ", ") {
		if !slices.Contains(config.CollectorNames(), name) {
			t.Errorf("the configuration refuses the collector %q", name)
		}
	}
}
