package repair

import (
	"context"
	"math"
	"time"

	"holdfast/actuators"
	"holdfast/remediate/ladder"
)

// boots are the verbs about boots: something is done to the record, which is then written if it changed.
func (r *Repairs) boots(args actuators.Args, what string, act func(*now)) (actuators.Result, error) {
	n, err := r.look()
	if err != nil {
		return nil, err
	}
	before := string(n.boots.Encode())
	was := n.boots.Safe != nil
	if ended := args.Text("ended"); ended != n.boot { // of this boot it would be an agent that has started again since
		n.boots.End(ended)
	}
	act(n)
	if string(n.boots.Encode()) != before {
		if err := r.write(bootsFile, n.boots.Encode()); err != nil {
			return nil, err
		}
	}
	if is := n.boots.Safe != nil; is != was {
		r.o.Log.Warn("safe mode", "on", is, "unclean", len(n.boots.Unclean), "said", what)
	}
	r.o.Log.Debug("boot", "said", what, "boot", n.boot, "as_said", args.Text("boot"), "up", n.up.Round(time.Second), "unclean", len(n.boots.Unclean))
	return standing(n), nil
}

// standing is how the machine boots, for who asks: whether it is in safe mode, and when boot.lasted has something to say.
func standing(n *now) actuators.Result {
	result := actuators.Result{"boot": n.boot, "safe": n.boots.Safe != nil, "unclean": len(n.boots.Unclean), "again_seconds": math.Ceil(n.boots.Until(n.up).Seconds())}
	if n.boots.Safe != nil {
		result["why"] = n.boots.Safe.Why
	}
	return result
}

func (r *Repairs) began(_ context.Context, args actuators.Args) (actuators.Result, error) {
	return r.boots(args, "began", func(n *now) { n.boots.Began(n.boot, n.up, n.credited) })
}

// lasted takes the time from the kernel, and not from who asks.
func (r *Repairs) lasted(_ context.Context, args actuators.Args) (actuators.Result, error) {
	return r.boots(args, "lasted", func(n *now) {
		if n.boots.Boot != n.boot {
			n.boots.Began(n.boot, n.up, n.credited)
		}
		n.boots.Stays(n.boot, n.up)
	})
}

func (r *Repairs) ended(_ context.Context, args actuators.Args) (actuators.Result, error) {
	return r.boots(args, "ended", func(n *now) { n.boots.End(n.boot) })
}

func (r *Repairs) leave(_ context.Context, args actuators.Args) (actuators.Result, error) {
	return r.boots(args, "leave", func(n *now) { n.boots.Leave() })
}

// status says how repairs stand.
func (r *Repairs) status(context.Context, actuators.Args) (actuators.Result, error) {
	n, err := r.look()
	if err != nil {
		return nil, err
	}
	r.playbooks(n)
	faults := map[string]any{}
	for fault, p := range n.shelf {
		hour, day := n.book.Deeds(fault)
		ms, _ := n.book.Wait(p)
		faults[fault] = map[string]any{"level": n.book.Rung(p), "rungs": len(p.Rungs), "deeds_hour": hour, "deeds_day": day,
			"wait_seconds": math.Ceil(float64(ms) / 1000), "armed": r.armed[fault]}
	}
	result := actuators.Result{"safe": standing(n), "off": "", "faults": faults, "playbooks": len(n.shelf), "fault": ""}
	if r.o.Off != nil {
		result["off"] = r.o.Off()
	}
	if n.fault != nil {
		result["fault"] = clip(n.fault.Error())
	}
	if under := n.book.Now; under != nil {
		result["under_way"] = underWay(n, under)
	}
	return result, nil
}

// underWay is the repair that nobody said the end of, for people.
func underWay(n *now, under *ladder.Repair) map[string]any {
	return map[string]any{"fault": under.Fault, "rung": under.Rung, "name": under.Name, "values": under.Values, "restarts": under.Restarts,
		"rebooted": under.Boot != n.boot, "seconds": float64(n.book.AtMS-under.AtMS) / 1000, "left_seconds": math.Max(0, float64(under.UntilMS-n.book.AtMS)/1000)}
}

// clip keeps what is told of many files short.
func clip(s string) string {
	const most = 1500
	if len(s) > most {
		for at := most; ; at-- {
			if s[at]&0xc0 != 0x80 { // the first byte of a character
				return s[:at] + "…"
			}
		}
	}
	return s
}
