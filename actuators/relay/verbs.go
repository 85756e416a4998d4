package relay

import (
	"context"
	"time"

	"holdfast/actuators"
)

// longest is the longest pulse, in seconds.
const longest = 86400

// Describe returns relay.set and relay.pulse of the named relays without a Do: for a process that asks another. Both answer
// with the relay's name, whether it is on now, and whether that is a change.
func Describe(names ...string) []actuators.Verb {
	name := actuators.Param{Name: "name", Kind: actuators.Text, Required: true, Choices: names, Help: "which relay"}
	return []actuators.Verb{
		{Name: "relay.set", Help: "switch a relay on or off",
			Params: []actuators.Param{name, {Name: "on", Kind: actuators.Truth, Required: true, Help: "true closes it"}}},
		{Name: "relay.pulse", Help: "switch a relay for a while, and then the other way",
			Params: []actuators.Param{name,
				{Name: "on", Kind: actuators.Truth, Required: true, Help: "true closes it meanwhile"},
				{Name: "seconds", Kind: actuators.Number, Required: true, Min: 0.001, Max: longest, Help: "how long"}}},
	}
}

// Verbs returns the verbs of every relay of the bank.
func (b *Bank) Verbs() []actuators.Verb {
	verbs := Describe(b.names...)
	verbs[0].Do = func(_ context.Context, args actuators.Args) (actuators.Result, error) {
		return answer(args, b.Set)
	}
	verbs[1].Do = func(_ context.Context, args actuators.Args) (actuators.Result, error) {
		length := time.Duration(args.Number("seconds") * float64(time.Second))
		return answer(args, func(name string, on bool) (bool, error) { return b.Pulse(name, on, length) })
	}
	return verbs
}

func answer(args actuators.Args, deed func(name string, on bool) (bool, error)) (actuators.Result, error) {
	name, on := args.Text("name"), args.Truth("on")
	changed, err := deed(name, on)
	if err != nil {
		return nil, err
	}
	return actuators.Result{"name": name, "on": on, "changed": changed}, nil
}
