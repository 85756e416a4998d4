package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdfast/cmd/holdfastctl/internal/message"
)

// update moves a board to its next release, takes its power away in the middle, and sees it go on from there.
func (s *stage) update(ctx context.Context) (string, error) {
	s.tell.say("A second board has two slots. Its releases are signed with new keys, and served over HTTP.")
	if err := s.setBench(ctx); err != nil {
		return "", err
	}
	b := s.bench
	s.tell.command("release add repo pump/2 --compatible " + kind + " --image root=pump-2.img --publish")
	s.tell.fact("release", "pump/2: an image of %s, from pump/1 a delta of %s", kib(imageBytes), kib(b.delta.Bytes))
	if 10*b.delta.Bytes > imageBytes {
		return "", errors.New("the delta is not much smaller than the image")
	}
	if err := b.await(ctx, "the board at the broker", func() bool { return b.watch.status.Online }); err != nil {
		return "", err
	}
	if err := b.runs(ctx, "pump/1", "a"); err != nil {
		return "", err
	}
	s.tell.fact("board", "runs pump/1 from slot a")
	given, err := b.interrupted(ctx, "job-2", "pump/2")
	if err != nil {
		return "", err
	}
	if err := b.machine.on(); err != nil {
		return "", err
	}
	if err := b.await(ctx, "the new system on trial", func() bool {
		return b.watch.job.ID == "job-2" && (b.watch.job.Phase == "updating" || b.watch.job.over())
	}); err != nil {
		return "", err
	}
	if j := b.watch.job; j.over() && j.Phase != "committed" {
		return "", j.unexpected("committed")
	}
	again, err := b.resumed(given)
	if err != nil {
		return "", err
	}
	if err := b.holds("b", "pump/2"); err != nil {
		return "", err
	}
	s.tell.fact("trial", "slot b holds pump/2 byte for byte; the board starts it, once")
	if _, err := b.over(ctx, "job-2", "committed", ""); err != nil {
		return "", err
	}
	if err := errors.Join(b.judged("b: "+turns), b.runs(ctx, "pump/2", "b")); err != nil {
		return "", err
	}
	s.tell.fact("gate", "passed; health.d/pump has said: %s", turns)
	s.tell.fact("committed", "the board runs pump/2 from slot b, from now on")
	return fmt.Sprintf("power cut, %s of %s fetched again, committed", kib(again), kib(b.delta.Bytes)), nil
}

// interrupted begins a job, takes the board's power away in the middle of the second of three segments, and returns how
// much of the delta it was given. The site gives nothing behind that middle: it cannot be missed.
func (b *bench) interrupted(ctx context.Context, id, release string) (given int64, err error) {
	if n := len(b.delta.Patch.Segments); n != 3 {
		return 0, fmt.Errorf("the delta has %d segments, want 3", n)
	}
	second := b.delta.Patch.Segments[1]
	middle := second.Offset + second.Length/2
	b.site.block(b.delta.File, middle)
	defer b.site.lift()
	if err := b.push(ctx, id, release); err != nil {
		return 0, err
	}
	if err := b.await(ctx, "half of the delta on its way", func() bool {
		all := b.site.requests()
		return b.watch.job.over() || len(all) > 0 && all[0].from+all[0].given >= middle
	}); err != nil {
		return 0, err
	}
	if j := b.watch.job; j.over() {
		return 0, j.unexpected("in its middle")
	}
	now, err := b.reaches(ctx, second.At)
	if err != nil {
		return 0, err
	}
	b.s.tell.fact("downloads", "%.0f %% of the image are in slot b, says the board; it is in the middle of the next third", now.Percent)
	b.machine.off()
	all := b.site.requests()
	if len(all) != 1 || all[0].file != b.delta.File {
		return 0, fmt.Errorf("the board should be in its first request, for the delta: it made %d", len(all))
	}
	if err := b.watch.await(ctx, b.s.o.Patience, nil, func() bool { return !b.watch.status.Online }); err != nil {
		return 0, fmt.Errorf("the board's will at the broker: %w", err)
	}
	given = all[0].from + all[0].given
	b.s.tell.fact("power", "cut (SIGKILL) after %s of %s; the broker has the board's will", kib(given), kib(b.delta.Bytes))
	return given, nil
}

// reaches waits until the board says that so many bytes of the new image are on its medium, for good.
func (b *bench) reaches(ctx context.Context, bytes int64) (now standing, err error) {
	for end := time.Now().Add(b.s.o.Patience); ; {
		if now, err = b.standing(ctx); err != nil || now.Bytes >= bytes {
			return now, err
		}
		if time.Now().After(end) {
			return now, fmt.Errorf("%d bytes in the slot: %w within %s", bytes, errNotSeen, b.s.o.Patience)
		}
		if err := b.watch.await(ctx, b.s.o.Patience, b.machine.ended, after(200*time.Millisecond)); err != nil {
			return now, err
		}
	}
}

// after is done after a while.
func after(d time.Duration) func() bool {
	end := time.Now().Add(d)
	return func() bool { return time.Now().After(end) }
}

// resumed checks how a download went on that was cut off after so many bytes, and returns how many came again.
func (b *bench) resumed(given int64) (again int64, err error) {
	all := b.site.requests()[1:]
	for _, r := range all {
		if r.file == b.full.File {
			return 0, errors.New("the full image was asked for, and the delta is enough")
		}
	}
	if len(all) != 1 || !all[0].ranged || all[0].file != b.delta.File {
		return 0, fmt.Errorf("after the cut the rest of the delta should come with one Range request: %d were made", len(all))
	}
	again = given - all[0].from
	switch rest := b.delta.Bytes - all[0].from; {
	case again < 0 || again > b.delta.Patch.Segments[1].Length:
		return 0, fmt.Errorf("%d bytes were fetched again; the part that was being made has %d", again, b.delta.Patch.Segments[1].Length)
	case all[0].given != rest:
		return 0, fmt.Errorf("the rest of the delta has %d bytes: %d were given", rest, all[0].given)
	}
	b.s.tell.fact("resumed", "with one request, Range: bytes=%d-; %s came again", all[0].from, kib(again))
	return again, nil
}

// rollBack gives the board a release that is signed and whole, and no good.
func (s *stage) rollBack(ctx context.Context) (string, error) {
	b := s.bench
	s.tell.say("pump/3 is signed and whole, and its pump does not turn. That shows when it runs, and not before.")
	s.tell.say("This board gives a release one trial of %s; others give three, of ten minutes.", deadline)
	if err := b.push(ctx, "job-3", "pump/3"); err != nil {
		return "", err
	}
	j, err := b.over(ctx, "job-3", "rolled_back", "quarantined")
	if err != nil {
		return "", err
	}
	if !strings.Contains(j.Error, stuck) {
		return "", fmt.Errorf("the outcome does not say that %s: %s", stuck, message.Clean(j.Error, 200))
	}
	if err := errors.Join(b.judged("b: "+turns, "a: "+stuck), b.holds("a", "pump/3")); err != nil {
		return "", err
	}
	s.tell.fact("trial", "of slot a, which holds pump/3 byte for byte; health.d/pump has said: %s", stuck)
	s.tell.fact("outcome", "%s, %s: %s", j.Phase, j.Reason, message.Clean(j.Error, 200))
	if err := b.runs(ctx, "pump/2", "b"); err != nil {
		return "", err
	}
	s.tell.fact("board", "went back by itself, and runs pump/2 from slot b")
	if err := b.push(ctx, "job-4", "pump/3"); err != nil {
		return "", err
	}
	again, err := b.over(ctx, "job-4", "refused", "quarantined")
	if err != nil {
		return "", err
	}
	s.tell.fact("refused", "%s", message.Clean(again.Error, 200))
	if err := b.history(ctx, "pump/2 committed", "pump/3 rolled_back", "pump/3 refused"); err != nil {
		return "", err
	}
	return "tried once, rolled back by itself, refused from then on", nil
}

// history has the board say what became of its jobs, as `holdfast status --history` does.
func (b *bench) history(ctx context.Context, want ...string) error {
	b.s.tell.command("command " + boardID + " update.history")
	var answer struct {
		History []struct{ Job, Release, Result, Reason, Error string } `json:"history"`
	}
	if err := b.ask(ctx, "update.history", &answer); err != nil {
		return err
	}
	if len(answer.History) != len(want) {
		return fmt.Errorf("the board's history should have %d jobs: %+v", len(want), answer.History)
	}
	for i, h := range answer.History {
		if h.Release+" "+h.Result != want[i] {
			return fmt.Errorf("the board's history should have %q: %+v", want[i], h)
		}
		b.s.tell.fact(h.Job, "%s", strings.TrimSpace(want[i]+" "+message.Clean(h.Reason, 20)))
	}
	return nil
}

// kib is a number of bytes for people.
func kib(n int64) string {
	if n >= 10<<20 {
		return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
}
