package confined

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// errNoBus says that systemd cannot be asked: nothing was started.
var errNoBus = errors.New("no bus")

// stray bounds the wait for systemd beyond the limits that it keeps itself.
const stray = 15 * time.Second

// unit runs the program as a transient service of type oneshot: its start ends when all of it has ended. The unit is kept
// for us until its result is read, and for nobody else.
func (r Runner) unit(ctx context.Context, p Program) (Ending, error) {
	hold, release := context.WithCancel(context.WithoutCancel(ctx)) // who gives up must still be able to stop the unit
	defer release()
	enough := time.AfterFunc(stray, release)
	conn, err := Dial(hold, r.Bus)
	if err != nil {
		return Ending{}, fmt.Errorf("%w: %w", errNoBus, err)
	}
	defer conn.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return Ending{}, err
	}
	defer read.Close()
	name := "holdfast-" + p.Name + "-" + strings.ToLower(rand.Text()[:8]) + ".service"
	job := make(chan string, 1) // the library's reader must never wait for us
	err = launch(hold, conn, name, p.properties(write), job)
	write.Close()
	enough.Stop()
	if err != nil {
		return Ending{}, fmt.Errorf("start a unit for it: %w", err)
	}
	kept := tail{most: p.Limits.Output}
	drained := make(chan struct{})
	go func() { kept.drain(read, r.pause); close(drained) }()
	why, over := r.await(ctx, conn, name, p.Limits, job)
	end := Ending{Code: -1, Status: "unknown", Why: why}
	if over {
		ask, stop := context.WithTimeout(context.WithoutCancel(ctx), stray)
		facts, err := conn.GetUnitTypePropertiesContext(ask, name, "Service")
		stop()
		if err != nil {
			end.Why = errors.Join(why, fmt.Errorf("its result: %w", err))
		}
		end.judge(facts, p.Limits)
	}
	conn.Close() // only then systemd closes its copy of the pipe
	_ = read.SetReadDeadline(time.Now().Add(2 * time.Second))
	<-drained
	end.Output, end.Cut = kept.bytes()
	return end, nil
}

// await waits until the unit has ended, and has it ended when ctx does. It returns why that was, and whether the unit is over.
func (r Runner) await(ctx context.Context, conn *systemd.Conn, name string, l Limits, job <-chan string) (why error, over bool) {
	fired, stop := r.Clock.Timer(l.Time + 2*l.Grace + stray)
	defer stop()
	select {
	case <-job:
		return nil, true
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-fired:
		why = errors.New("systemd does not say that it has ended")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*l.Grace+stray)
	defer cancel()
	stopped := make(chan string, 1)
	if _, err := conn.StopUnitContext(ctx, name, "replace", stopped); err != nil {
		return fmt.Errorf("%w, and stop its unit: %w", why, err), false
	}
	select {
	case <-stopped:
		return why, true
	case <-ctx.Done():
		return fmt.Errorf("%w, and its unit does not stop", why), false
	}
}

// Dial connects to systemd over the bus at an address, empty for the system's.
func Dial(ctx context.Context, address string) (*systemd.Conn, error) {
	return systemd.NewConnection(func() (*dbus.Conn, error) {
		var bus *dbus.Conn
		var err error
		if address != "" {
			bus, err = dbus.Dial(address, dbus.WithContext(ctx))
		} else {
			bus, err = dbus.SystemBusPrivate(dbus.WithContext(ctx))
		}
		if err != nil {
			return nil, err
		}
		if err = bus.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err == nil {
			err = bus.Hello()
		}
		if err != nil {
			bus.Close()
			return nil, err
		}
		return bus, nil
	})
}

// launch starts the unit. What an older systemd does not know of the sandbox is left out; it knows all the limits.
func launch(ctx context.Context, conn *systemd.Conn, name string, all []systemd.Property, job chan<- string) error {
	for range all {
		_, err := conn.StartTransientUnitContext(ctx, name, "fail", all, job)
		var refused dbus.Error
		if !errors.As(err, &refused) || refused.Name != "org.freedesktop.DBus.Error.PropertyReadOnly" {
			return err
		}
		var without []systemd.Property
		for _, p := range all {
			if slices.Contains(optional, p.Name) && strings.Contains(refused.Error(), " "+p.Name+",") { // "Cannot set property X, or unknown property."
				continue
			}
			without = append(without, p)
		}
		if len(without) == len(all) {
			return err
		}
		all = without
	}
	return errors.New("systemd takes nothing of it")
}

// optional are the properties that came after systemd 240.
var optional = []string{"ProtectHostname", "RestrictSUIDSGID", "ProtectKernelLogs", "ProtectClock"}

// judge reads the result of the unit (org.freedesktop.systemd1(5), Service).
func (e *Ending) judge(facts map[string]any, l Limits) {
	code, _ := facts["ExecMainCode"].(int32) // of waitid(2)
	status, _ := facts["ExecMainStatus"].(int32)
	const exited, killed, dumped = 1, 2, 3
	switch {
	case code == exited && status >= 200 && status <= 245 && facts["Result"] != "success":
		e.Status = fmt.Sprintf("systemd did not start it: status %d (systemd.exec(5))", status)
	case code == exited:
		e.Code, e.Status = int(status), fmt.Sprintf("exit status %d", status)
	case code == killed || code == dumped:
		e.Status = "signal: " + syscall.Signal(status).String()
	}
	if e.Why != nil {
		return
	}
	switch result, _ := facts["Result"].(string); result {
	case "timeout": // also where it ended by itself, and systemd had to kill what it left behind
		began, _ := facts["ExecMainStartTimestampMonotonic"].(uint64) // µs
		ended, _ := facts["ExecMainExitTimestampMonotonic"].(uint64)
		if ran := time.Duration(ended-began) * time.Microsecond; code != exited || ended < began || ran >= l.Time {
			e.Why = late(l.Time)
		}
	case "oom-kill":
		e.Why = fmt.Errorf("it wanted more than %d bytes of memory", l.Memory)
	case "success", "exit-code", "signal", "core-dump":
	default:
		if code == 0 { // systemd has not come as far as to start it
			e.Status = "systemd did not start it: " + result
		}
	}
}

type command struct {
	Path  string
	Args  []string
	Spare bool // that it does not succeed changes nothing
}

// literal writes arguments so that systemd puts no variables of the environment into them (systemd.service(5), command lines).
func literal(argv []string) []string {
	safe := make([]string, len(argv))
	for i, a := range argv {
		safe[i] = strings.ReplaceAll(a, "$", "$$")
	}
	return safe
}

type filter struct {
	Allow bool
	Calls []string
}

// properties are those of the program's unit (systemd.exec(5), systemd.resource-control(5)). Nil values are left out.
func (p Program) properties(out *os.File) []systemd.Property {
	l, may := p.Limits, p.Powers
	var after, write, runtime, user, ambient any
	if len(p.After) > 0 {
		after = []command{{p.After[0], literal(p.After), true}}
	}
	if len(may.Write) > 0 {
		write = optionalPaths(may.Write)
	}
	if may.Runtime != "" {
		runtime = []string{may.Runtime}
	}
	if p.User != "" {
		user, ambient = p.User, may.Capabilities
	}
	home, stand := "yes", int32(0)
	if may.Home {
		home = "read-only"
	}
	if l.CPU > 0 {
		stand = nice
	}
	fd := dbus.UnixFD(out.Fd())
	all := []property{
		{"Description", "Holdfast: " + p.Name}, {"Type", "oneshot"}, {"CollectMode", "inactive-or-failed"}, {"AddRef", true},
		{"ExecStart", []command{{p.Argv[0], literal(p.Argv), false}}}, {"ExecStopPost", after}, {"Environment", p.environment()},
		{"WorkingDirectory", "/"}, {"StandardOutputFileDescriptor", fd}, {"StandardErrorFileDescriptor", fd}, {"UMask", uint32(0o077)},
		{"User", user}, {"AmbientCapabilities", ambient}, {"CapabilityBoundingSet", may.Capabilities},
		{"TimeoutStartUSec", uint64(l.Time.Microseconds())}, {"TimeoutStopUSec", uint64(l.Grace.Microseconds())},
		{"MemoryMax", most(l.Memory)}, {"TasksMax", most(int64(l.Tasks))}, {"CPUQuotaPerSecUSec", most(int64(l.CPU) * 10_000)},
		{"LimitFSIZE", most(l.File)}, {"LimitCORE", uint64(0)}, {"Nice", stand},
		{"ProtectSystem", "strict"}, {"ReadWritePaths", write}, {"RuntimeDirectory", runtime}, {"ProtectHome", home},
		{"PrivateNetwork", !may.Network}, {"PrivateTmp", !may.Tmp}, {"PrivateDevices", !may.Devices},
		{"RestrictNamespaces", uint64(0)}, // none may be made
		{"KeyringMode", "private"}, {"SystemCallArchitectures", []string{"native"}}, {"SystemCallFilter", filter{true, []string{"@system-service"}}},
		{"SystemCallErrorNumber", int32(syscall.EPERM)},
	}
	if l.Memory > 0 {
		all = append(all, property{"MemorySwapMax", uint64(0)}) // in cgroup v2; v1 has no such limit beside the other
	}
	for _, name := range []string{"NoNewPrivileges", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups",
		"ProtectClock", "ProtectHostname", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality"} {
		all = append(all, property{name, true})
	}
	var set []systemd.Property
	for _, one := range all {
		if one.value != nil {
			set = append(set, systemd.Property{Name: one.name, Value: dbus.MakeVariant(one.value)})
		}
	}
	return set
}

type property struct {
	name  string
	value any
}

// most is a limit as systemd takes it: all bits are none.
func most(n int64) uint64 {
	if n <= 0 {
		return 1<<64 - 1
	}
	return uint64(n)
}

// optionalPaths marks paths as such that need not be there.
func optionalPaths(paths []string) []string {
	marked := make([]string, len(paths))
	for i, path := range paths {
		marked[i] = "-" + path
	}
	return marked
}
