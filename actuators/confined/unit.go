package confined

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
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
	conn, err := r.dial(hold)
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

func (r Runner) dial(ctx context.Context) (*systemd.Conn, error) {
	return systemd.NewConnection(func() (*dbus.Conn, error) {
		var bus *dbus.Conn
		var err error
		if r.Bus != "" {
			bus, err = dbus.Dial(r.Bus, dbus.WithContext(ctx))
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
			if optional[p.Name] && strings.Contains(refused.Error(), " "+p.Name+",") { // "Cannot set property X, or unknown property."
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
var optional = map[string]bool{"ProtectHostname": true, "RestrictSUIDSGID": true, "ProtectKernelLogs": true, "ProtectClock": true, "ProtectProc": true}

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

// properties are those of the program's unit (systemd.exec(5), systemd.resource-control(5)).
func (p Program) properties(out *os.File) []systemd.Property {
	var all []systemd.Property
	set := func(name string, value any) {
		all = append(all, systemd.Property{Name: name, Value: dbus.MakeVariant(value)})
	}
	on := func(ok bool, names ...string) {
		for _, name := range names {
			if ok {
				set(name, true)
			}
		}
	}
	set("Description", "Holdfast: "+p.Name)
	set("Type", "oneshot")
	set("CollectMode", "inactive-or-failed")
	set("AddRef", true)
	set("ExecStart", []command{{p.Argv[0], literal(p.Argv), false}})
	if len(p.After) > 0 {
		set("ExecStopPost", []command{{p.After[0], literal(p.After), true}})
	}
	set("Environment", p.environment())
	set("WorkingDirectory", "/")
	set("StandardOutputFileDescriptor", dbus.UnixFD(out.Fd()))
	set("StandardErrorFileDescriptor", dbus.UnixFD(out.Fd()))
	set("UMask", uint32(0o077))
	if p.User != "" {
		set("User", p.User)
		set("AmbientCapabilities", p.Powers.Capabilities)
	}
	all = append(all, p.Limits.properties()...)
	set("CapabilityBoundingSet", p.Powers.Capabilities)
	set("ProtectSystem", "strict")
	if len(p.Powers.Write) > 0 {
		set("ReadWritePaths", optionalPaths(p.Powers.Write))
	}
	if p.Powers.Runtime != "" {
		set("RuntimeDirectory", []string{p.Powers.Runtime})
	}
	home := "yes"
	if p.Powers.Home {
		home = "read-only"
	}
	set("ProtectHome", home)
	on(!p.Powers.Network, "PrivateNetwork")
	on(!p.Powers.Tmp, "PrivateTmp")
	on(!p.Powers.Devices, "PrivateDevices")
	on(true, "NoNewPrivileges", "ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups", "ProtectClock",
		"ProtectHostname", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality")
	set("RestrictNamespaces", uint64(0)) // none may be made
	set("KeyringMode", "private")
	set("SystemCallArchitectures", []string{"native"})
	set("SystemCallFilter", filter{true, []string{"@system-service"}})
	set("SystemCallErrorNumber", int32(syscall.EPERM))
	return all
}

func (l Limits) properties() []systemd.Property {
	var all []systemd.Property
	set := func(on bool, name string, value any) {
		if on {
			all = append(all, systemd.Property{Name: name, Value: dbus.MakeVariant(value)})
		}
	}
	set(true, "TimeoutStartUSec", uint64(l.Time.Microseconds()))
	set(true, "TimeoutStopUSec", uint64(l.Grace.Microseconds()))
	set(l.Memory > 0, "MemoryMax", uint64(l.Memory))
	set(l.Memory > 0, "MemorySwapMax", uint64(0)) // in cgroup v2; v1 has no such limit beside the other
	set(l.Tasks > 0, "TasksMax", uint64(l.Tasks))
	set(l.CPU > 0, "CPUQuotaPerSecUSec", uint64(l.CPU)*10_000)
	set(l.CPU > 0, "Nice", int32(nice))
	set(l.File > 0, "LimitFSIZE", uint64(l.File))
	set(true, "LimitCORE", uint64(0))
	return all
}

// optionalPaths marks paths as such that need not be there.
func optionalPaths(paths []string) []string {
	marked := make([]string, len(paths))
	for i, path := range paths {
		marked[i] = "-" + path
	}
	return marked
}
