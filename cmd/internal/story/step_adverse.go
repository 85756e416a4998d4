//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// rules sets what the link to the board loses: rules of nft, for what comes from the board and what goes to it. None: it is
// a link.
func (s *site) rules(ctx context.Context, from, to string) error {
	chain := func(name, rule string) string {
		return "chain " + name + " { type filter hook " + name + " priority 0; " + rule + "; }\n"
	}
	text := "flush ruleset\n"
	if from != "" {
		text += "table inet lab {\n" + chain("input", `iifname "`+tapName+`" `+from) + chain("output", `oifname "`+tapName+`" `+to) + "}\n"
	}
	if err := put(s.dir, "rules", text, 0o600); err != nil {
		return err
	}
	return s.do(ctx, "nft", "-f", s.path("rules"))
}

// session waits for a record of the agent that runs, and returns its session.
func (s *site) session(ctx context.Context) (string, error) {
	out, err := s.in(ctx, "holdfast status --json")
	if err != nil {
		return "", err
	}
	var status struct {
		Session string `json:"session"`
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil || status.Session == "" {
		return "", fmt.Errorf("holdfast status: no session in %.200s, %w", out, err)
	}
	return status.Session, nil
}

// nothingLost waits until the board has delivered what it keeps, and counts what the subscriber heard of its session since
// a message.
func (s *site) nothingLost(ctx context.Context, from int) (records int, err error) {
	now, err := s.session(ctx)
	if err != nil {
		return 0, err
	}
	mark, err := s.mark(ctx, now)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	if _, err := s.heard.wait(ctx, from, func(m message) bool {
		var r record
		return m.topic == "event" && json.Unmarshal(m.body, &r) == nil && r.Session == now && r.Seq >= mark
	}); err != nil {
		return 0, err
	}
	return s.heard.whole(from)
}

// noAnswer is holdfastctl's exit code when a device has not answered in time: it will, when the link lets it.
const noAnswer = 3

// mark has the agent say something that is never dropped, an event, and returns at least which record it is.
func (s *site) mark(ctx context.Context, session string) (uint64, error) {
	from := s.heard.count()
	s.marks++
	_, err := s.ctl(ctx, "shadow", "set", id, fmt.Sprintf("labels.mark=m%d", s.marks))
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == noAnswer) {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	var seq uint64
	_, err = s.heard.wait(ctx, from, func(m message) bool {
		var r record
		if m.topic != "event" || json.Unmarshal(m.body, &r) != nil || r.Session != session || r.Kind != "shadow" {
			return false
		}
		seq = r.Seq
		return true
	})
	return seq, err
}

// clock is the first half of step 6: the board knows no time.
func (s *site) clock(ctx context.Context) error {
	// systemd keeps the time of the last synchronisation; a board that was never set has none.
	if _, err := s.in(ctx, "systemctl stop systemd-timesyncd; rm -rf /data/var/lib/systemd/timesync /data/var/lib/private/systemd/timesync; sync"); err != nil {
		return err
	}
	if err := s.off(); err != nil {
		return err
	}
	s.rtc = "1970-01-02T00:00:00"
	if err := s.rules(ctx, "udp dport 123 drop", "udp sport 123 drop"); err != nil {
		return err
	}
	if err := s.on(); err != nil {
		return err
	}
	s.t.check("with a battery that is flat and nobody to ask, "+s.running+" starts", s.comesUpAs(ctx, s.slot, s.running))
	// systemd knows that it is not older than itself. Other inits do not, so the clock is set back.
	out, err := s.in(ctx, "date +%F; systemctl stop holdfast; date -s 1970-01-02 >/dev/null; date +%F")
	s.t.note("its clock says %s", strings.Replace(out, "\n", ", which is when systemd was made; it is set back to ", 1))
	from := s.heard.count()
	if err == nil {
		_, err = s.in(ctx, "systemctl start holdfast")
	}
	if err == nil {
		err = s.hears(ctx, from, "telemetry", `"cpu"`, `"trusted":false`, `"1970-01-02`)
	}
	s.t.check("in 1970 the agent finds its broker all the same (TLS), and marks readings as not trusted", err)
	if err := s.rules(ctx, "", ""); err != nil {
		return err
	}
	s.t.check("when it hears the time it marks them as trusted", s.hears(ctx, s.heard.count(), "telemetry", `"cpu"`, `"trusted":true`))
	n, err := s.nothingLost(ctx, from)
	s.t.check(fmt.Sprintf("no record of it is lost: %d", n), err)
	s.rtc = ""
	return nil
}

// link is the second half: a line that loses a third, and then one that is dead.
func (s *site) link(ctx context.Context) error {
	from := s.heard.count()
	_, err := s.in(ctx, "tc qdisc add dev eth0 root netem delay 500ms")
	if err == nil {
		loss := "numgen random mod 100 < 30 drop"
		err = s.rules(ctx, loss, loss)
	}
	s.t.check("the link loses 30 % in both directions and takes 500 ms", err)
	session, err := s.session(ctx)
	if err != nil {
		return err
	}
	for i := range 5 {
		if _, err := s.mark(ctx, session); err != nil {
			s.t.check(fmt.Sprintf("event %d of 5 comes", i+1), err)
			break
		}
	}
	pause(ctx, 30*time.Second)
	n, err := s.nothingLost(ctx, from)
	s.t.check(fmt.Sprintf("nothing is lost: %d records", n), err)

	from = s.heard.count()
	if err := s.rules(ctx, "drop", "drop"); err != nil {
		return err
	}
	for range 4 { // what happens meanwhile
		pause(ctx, 30*time.Second)
	}
	if err := s.rules(ctx, "", ""); err != nil {
		return err
	}
	if _, err := s.in(ctx, "tc qdisc del dev eth0 root"); err != nil {
		return err
	}
	s.t.check("after two minutes without a link it says how long it was away", s.hears(ctx, from, "event", `"kind":"link"`, `"down_seconds"`))
	n, err = s.nothingLost(ctx, from)
	s.t.check(fmt.Sprintf("nothing of them is lost: %d records", n), err)
	return nil
}

func (s *site) adverse(ctx context.Context) error {
	if err := s.clock(ctx); err != nil {
		return err
	}
	return s.link(ctx)
}

// pause lets time pass.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// full is step 7: the disk is full.
func (s *site) full(ctx context.Context) error {
	before, err := s.session(ctx)
	if err != nil {
		return err
	}
	out, err := s.in(ctx, "dd if=/dev/zero of=/data/fill bs=64k 2>&1 | tail -1; dd if=/dev/zero of=/data/fill2 bs=1k 2>/dev/null; sync; df -k /data | tail -1")
	s.t.check("the partition with its state is filled to the last block", err)
	s.t.note("%s", out[strings.LastIndexByte(out, '\n')+1:])
	from := s.heard.count()
	s.t.check("telemetry goes on", s.hears(ctx, from, "telemetry", `"cpu"`))
	out, err = s.in(ctx, "holdfast doctor")
	if err != nil && strings.Contains(out, "full") || strings.Contains(out, "FAIL") || strings.Contains(out, "fail  ") {
		err = nil
	} else if err == nil {
		err = errors.New("it finds all well: " + out)
	}
	s.t.check("holdfast doctor says that there is no room", err)
	if err := s.rules(ctx, "drop", "drop"); err != nil {
		return err
	}
	pause(ctx, 100*time.Second) // longer than readings are kept in memory alone
	if err := s.rules(ctx, "", ""); err != nil {
		return err
	}
	s.t.check("a hundred seconds without a link later it is on the broker again", s.hears(ctx, s.heard.count(), "telemetry", `"cpu"`))
	after, err := s.session(ctx)
	if err == nil && after != before {
		err = errors.New("another agent runs")
	}
	s.t.check("it is the same agent: it did not end", err)
	_, lost := s.heard.whole(from)
	gaps := 0
	all, err := s.heard.records(from)
	for _, r := range all {
		if r.Kind == "gap" {
			gaps++
		}
	}
	if lost != nil && gaps == 0 {
		err = errors.Join(err, lost)
	}
	what := "nothing is lost: memory kept it"
	if gaps > 0 {
		what = fmt.Sprintf("what could not be kept it tells of, in %d events", gaps)
	}
	s.t.check(what, err)
	_, err = s.in(ctx, "rm /data/fill /data/fill2; sync")
	if err == nil {
		_, err = s.nothingLost(ctx, s.heard.count())
	}
	s.t.check("with room again all is as before", err)
	return nil
}
