package repair

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"holdfast/actuators"
	"holdfast/board/strict"
	"holdfast/remediate/ladder"
)

// refusal says why the next rung of a playbook may not be done now, and for how long that is known to last; nil when nothing
// is against it. The order is that of docs/playbooks.md.
func (r *Repairs) refusal(n *now, p *ladder.Playbook) (wait time.Duration, err error) {
	ask := func(f func() string) string {
		if f == nil {
			return ""
		}
		return f()
	}
	if why := ask(r.o.Off); why != "" {
		return 0, fmt.Errorf("%w: repairs are switched off: %s", actuators.ErrLocked, why)
	}
	if n.boots.Safe != nil {
		return n.boots.Until(n.up), fmt.Errorf("%w: safe mode: %s", actuators.ErrLocked, n.boots.Safe.Why)
	}
	for _, f := range []func() string{r.o.Busy, r.o.Holds, r.o.Sessions} {
		if why := ask(f); why != "" {
			return 0, fmt.Errorf("%w: %s", actuators.ErrLocked, why)
		}
	}
	if !r.o.Clock.Trusted() {
		return 0, fmt.Errorf("%w: the clock is not set", actuators.ErrLocked)
	}
	if under := n.book.Now; under != nil {
		return 0, fmt.Errorf("%w: a repair of %s is under way (rung %d, %s)", actuators.ErrLocked, under.Fault, under.Rung, under.Name)
	}
	ms, why := n.book.Wait(p)
	class := r.class(p.Rungs[n.book.Rung(p)].Deed)
	if class != "" {
		if _, left := r.o.Limiter.Left(class); left.Milliseconds() > ms {
			ms, why = left.Milliseconds(), fmt.Sprintf("the limit of the class %s is reached", class)
		}
	}
	if ms > 0 {
		wait = time.Duration(ms) * time.Millisecond
		return wait, fmt.Errorf("%w: %s; %v left", actuators.ErrLimited, why, wait.Round(time.Second))
	}
	return 0, nil
}

// class is what the limiter counts a deed as. What the agent does itself takes a setting or a service away, too.
func (r *Repairs) class(d ladder.Deed) string {
	if d.Do == ladder.ConfigRollback {
		return actuators.Repair
	}
	v, err := r.o.Set.Lookup(d.Do)
	if err != nil {
		return ""
	}
	return v.Class
}

// find returns the playbook in force for a fault.
func (r *Repairs) find(n *now, fault string) (*ladder.Playbook, error) {
	r.playbooks(n)
	if p := n.shelf[fault]; p != nil {
		return p, nil
	}
	if !ladder.IsFault(fault) {
		return nil, fmt.Errorf("%w: %.64q is no fault", actuators.ErrInvalid, fault)
	}
	if n.fault != nil {
		return nil, fmt.Errorf("%w: no playbook for %s is in force; wrong is: %.300s", actuators.ErrInvalid, fault, n.fault.Error())
	}
	return nil, fmt.Errorf("%w: there is no playbook for %s", actuators.ErrInvalid, fault)
}

// plan says what the next step would be. Nothing is counted or done.
func (r *Repairs) plan(_ context.Context, args actuators.Args) (actuators.Result, error) {
	n, err := r.look()
	if err != nil {
		return nil, err
	}
	fault := args.Text("fault")
	p, err := r.find(n, fault)
	if err != nil {
		return nil, err
	}
	if n.book.Late() { // as the next step will have it; what is looked at here is not written
		n.book.End(false, n.boot, r.o.Seed)
	}
	wait, err := r.refusal(n, p)
	refused := ""
	if err != nil { // in the words of docs/playbooks.md
		refused = strings.TrimPrefix(strings.TrimPrefix(err.Error(), actuators.ErrLocked.Error()+": "), actuators.ErrLimited.Error()+": ")
	}
	i := n.book.Rung(p)
	rung := p.Rungs[i]
	return actuators.Result{"fault": fault, "armed": r.armed[fault], "rung": i, "name": rung.Name, "do": rung.Do, "rungs": len(p.Rungs),
		"timeout_seconds": rung.Timeout.Seconds(), "settle_seconds": rung.Settle.Seconds(), "wait_seconds": math.Ceil(wait.Seconds()), "refused": refused}, nil
}

// step does the next rung: what is against it, then the count on flash, then the log, then the deed.
func (r *Repairs) step(ctx context.Context, args actuators.Args) (actuators.Result, error) {
	n, err := r.look()
	if err != nil {
		return nil, err
	}
	fault, at := args.Text("fault"), args.Number("rung")
	p, err := r.find(n, fault)
	if err != nil {
		return nil, err
	}
	if n.book.Late() { // nobody said what came of it
		if _, err := r.finish(ctx, n, false); err != nil {
			return nil, err
		}
	}
	values, err := ladder.ParseValues(args.Text("values"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", actuators.ErrInvalid, err)
	}
	evidence := args.Text("evidence")
	if evidence != "" {
		if _, err := strict.Tree([]byte(evidence), strict.Limits{Bytes: evidenceBytes, Depth: 4, Members: 64}); err != nil {
			return nil, fmt.Errorf("%w: evidence: %w", actuators.ErrInvalid, err)
		}
	}
	if _, err := r.refusal(n, p); err != nil {
		return nil, err
	}
	i := n.book.Rung(p)
	if float64(i) != at {
		return nil, fmt.Errorf("%w: rung %v of %s: %d is next", actuators.ErrInvalid, at, fault, i)
	}
	rung := p.Rungs[i]
	filled, err := r.args(rung.Deed, values)
	if err != nil {
		return nil, r.skip(n, p, err)
	}
	if !r.armed[fault] {
		r.o.Log.Info("would repair", "fault", fault, "rung", i, "do", rung.Do, "args", filled, "values", values, "evidence", evidence)
		return actuators.Result{"would": true, "do": rung.Do, "args": filled}, nil
	}
	if err := n.book.Begin(p, i, n.boot, values); err != nil {
		return nil, fmt.Errorf("%w: %w", actuators.ErrLimited, err)
	}
	if err := r.keep(n); err != nil { // what cannot be counted is not done
		return nil, fmt.Errorf("%w: %w", actuators.ErrLimited, err)
	}
	r.o.Log.Info("repair", "fault", fault, "rung", i, "name", rung.Name, "do", rung.Do, "args", filled, "values", values, "evidence", evidence)
	result := actuators.Result{"do": rung.Do, "args": filled}
	did, err := r.do(ctx, n, rung.Deed, filled, rung.Timeout, fmt.Sprintf("repair of %s, rung %d", fault, i))
	if rung.Local() && err == nil {
		result["local"] = true
	}
	if did != nil {
		result["result"] = did
	}
	if err != nil { // it was counted, and may have been done in part: what came of it shows
		result["failed"] = err.Error()
		r.o.Log.Warn("a rung did not succeed", "fault", fault, "rung", i, "do", rung.Do, "err", err)
	}
	return result, nil
}

// skip has a person asked next where a playbook ends so and its rung cannot be done: a unit that may not be restarted is no
// reason to restart the machine.
func (r *Repairs) skip(n *now, p *ladder.Playbook, why error) error {
	ask := slices.IndexFunc(p.Rungs, func(rung ladder.Rung) bool { return rung.Do == ladder.Ask })
	if !r.armed[p.Fault] || ask <= n.book.Rung(p) {
		return why
	}
	err := n.book.Skip(p, ask)
	if err == nil {
		err = r.keep(n)
	}
	if err != nil {
		return fmt.Errorf("%w (and a person is not asked: %w)", why, err)
	}
	return fmt.Errorf("%w; a person is asked next", why)
}

// do does one deed.
func (r *Repairs) do(ctx context.Context, n *now, d ladder.Deed, args actuators.Args, limit time.Duration, reason string) (actuators.Result, error) {
	switch d.Do {
	case ladder.Ask:
		return nil, nil
	case ladder.ConfigRollback:
		return nil, r.o.Limiter.Take(actuators.Repair)
	case ladder.SafeEnter:
		n.boots.Enter(reason, n.boot, n.up)
		return actuators.Result{"safe": true}, r.write(bootsFile, n.boots.Encode())
	}
	ctx, stop := context.WithTimeout(actuators.WithReason(ctx, reason), limit)
	defer stop()
	return r.o.Set.Do(ctx, d.Do, args)
}

// end takes what came of the rung under way.
func (r *Repairs) end(ctx context.Context, args actuators.Args) (actuators.Result, error) {
	n, err := r.look()
	if err != nil {
		return nil, err
	}
	fault, at := args.Text("fault"), args.Number("rung")
	if under := n.book.Now; under == nil || under.Fault != fault || float64(under.Rung) != at {
		return nil, fmt.Errorf("%w: rung %v of %.32q is not under way", actuators.ErrInvalid, at, fault)
	}
	r.playbooks(n)
	result, err := r.finish(ctx, n, args.Truth("helped"))
	if err != nil {
		return nil, err
	}
	return result, nil
}

// finish undoes the rung under way where it did not help, and writes down what is next.
func (r *Repairs) finish(ctx context.Context, n *now, helped bool) (actuators.Result, error) {
	under := *n.book.Now
	result := actuators.Result{}
	if undo, limit := undoing(n.shelf[under.Fault], under); !helped && undo != nil {
		err := r.undo(ctx, n, *undo, under, limit)
		if result["undone"] = err == nil; err != nil {
			result["failed"] = err.Error()
			r.o.Log.Warn("a rung is not undone", "fault", under.Fault, "rung", under.Rung, "do", undo.Do, "err", err)
		}
	}
	n.book.End(helped, n.boot, r.o.Seed)
	if err := r.keep(n); err != nil {
		return nil, err
	}
	level := 0
	if e := n.book.Faults[under.Fault]; e != nil {
		level = e.Next
	}
	if p := n.shelf[under.Fault]; p != nil {
		level = n.book.Rung(p)
	}
	result["level"] = level
	r.o.Log.Info("repair ended", "fault", under.Fault, "rung", under.Rung, "name", under.Name, "helped", helped, "undone", result["undone"], "next", level)
	return result, nil
}

// undoing is the undo of the rung under way, if the playbook still has that rung.
func undoing(p *ladder.Playbook, under ladder.Repair) (*ladder.Deed, time.Duration) {
	if p == nil || under.Rung >= len(p.Rungs) || p.Rungs[under.Rung].Name != under.Name {
		return nil, 0
	}
	return p.Rungs[under.Rung].Undo, p.Rungs[under.Rung].Timeout
}

// undo does the undo within the limits of its class. Only the kill switch and an update are against it: what was begun is
// brought to its end.
func (r *Repairs) undo(ctx context.Context, n *now, d ladder.Deed, under ladder.Repair, limit time.Duration) error {
	for _, f := range []func() string{r.o.Off, r.o.Busy} {
		if f != nil && f() != "" {
			return errors.New(f())
		}
	}
	args, err := r.args(d, under.Values)
	if err != nil {
		return err
	}
	_, err = r.do(ctx, n, d, args, limit, fmt.Sprintf("undo of %s, rung %d", under.Fault, under.Rung))
	return err
}
