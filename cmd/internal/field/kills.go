//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"holdfast/board"
	"holdfast/update/updatetest"
)

// image is one with structure, the same for the same seed.
func image(seed uint64, n int64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+64)
	for int64(len(b)) < n {
		b = fmt.Appendf(b, "%x holdfast kelp %d\n", rnd.Uint64(), rnd.IntN(100))
	}
	return b[:n]
}

// kills moves the device to and fro between two releases, and kills both its processes at random moments: as if they
// crashed, or as if the supply was gone and the bootloader had the next word.
func (r *rig) kills(n int, seed uint64) error {
	const bytes, span = 12 << 20, 1 << 20
	one := image(1, bytes)
	two := slices.Clone(one)
	for at := 0; at < bytes; at += 700_000 {
		copy(two[at:], image(uint64(at)+2, 30_000))
	}
	r.release["pump/1"], r.release["pump/2"] = one, two
	r.repo = updatetest.New(time.Now().Add(-time.Hour), 7)
	for name, old := range map[string]string{"pump/1": "pump/2", "pump/2": "pump/1"} {
		r.repo.Add(updatetest.Release{Name: name, Parts: map[string][]byte{"root": r.release[name]}, Old: map[string][]byte{"root": r.release[old]},
			Span: span, Custom: map[string]any{"seq": 1 + len(name)%2, "downgrade_max_seq": 9}})
	}
	r.repo.Publish(time.Now())
	if err := r.slots(16<<20, one); err != nil {
		return err
	}
	if err := r.environment(); err != nil {
		return err
	}
	if err := r.around("settle = \"1s\"\ndeadline = \"20s\"\nback_off = \"1s\"\ntrials = 10"); err != nil {
		return err
	}
	fmt.Printf("seed %d, two slots on %s and %s\n", seed, r.loops[board.SlotA], r.loops[board.SlotB])
	rnd := rand.New(rand.NewPCG(seed, 3))
	if err := r.boot(); err != nil {
		return err
	}
	if err := r.up(); err != nil {
		return err
	}
	defer r.down()
	results := map[string]int{}
	killed := 0
	began := time.Now()
	length := time.Duration(0) // of an update that nobody disturbs: the first is, and does not count
	for i := -1; i < n; i++ {
		now, err := r.holds(r.booted)
		if err != nil {
			return err
		}
		to := "pump/1"
		if now == to {
			to = "pump/2"
		}
		var moments []time.Duration
		if length > 0 {
			moments = append(moments, time.Duration(rnd.Int64N(int64(length))))
			if rnd.IntN(2) == 0 {
				moments = append(moments, moments[0]+time.Duration(rnd.Int64N(int64(length))))
			}
		}
		start := time.Now()
		o, kills, err := r.oneRun(fmt.Sprintf("job-%d", i), to, moments, rnd)
		if i < 0 {
			length = time.Since(start)
		}
		killed += kills
		if err == nil {
			err = r.verdict(now, to, o)
		}
		if err == nil && o.Result != "committed" && o.Result != "rolled_back" {
			err = fmt.Errorf("a good release ended as %+v", o)
		}
		if err != nil {
			return fmt.Errorf("run %d of %d, seed %d: %w\nwarden: %s\nrun: %s", i, n, seed, err, r.words("warden"), r.words("run"))
		}
		if i < 0 {
			continue
		}
		results[o.Result]++
		if i%20 == 19 {
			fmt.Fprintf(os.Stderr, "%d runs, %d kills, %v, %.0f s\n", i+1, killed, results, time.Since(began).Seconds())
		}
	}
	fmt.Printf("%d runs, %d kills of both processes, %d starts, %d committed, %d fell back, 0 broken\n", n, killed, r.starts, results["committed"],
		n-results["committed"])
	if killed < n/2 {
		return fmt.Errorf("only %d kills in %d runs", killed, n)
	}
	return nil
}

// oneRun carries one job to its end, and kills both processes at the moments given.
func (r *rig) oneRun(id, release string, moments []time.Duration, rnd *rand.Rand) (o outcome, kills int, err error) {
	if err := r.push(id, release); err != nil {
		return o, 0, err
	}
	began, asked := time.Now(), time.Now()
	for time.Since(began) < 3*time.Minute {
		switch {
		case len(moments) > 0 && time.Since(began) > moments[0]:
			moments = moments[1:]
			r.down()
			kills++
			if rnd.IntN(2) == 0 || r.wanted() {
				err = r.boot()
			}
			if err == nil {
				err = r.up()
			}
		case r.wanted():
			r.down()
			if err = r.boot(); err == nil {
				err = r.up()
			}
		case r.warden.gone() || r.run.gone():
			err = fmt.Errorf("a process ended by itself")
		case time.Since(asked) > 300*time.Millisecond:
			asked = time.Now()
			past, e := r.history() // a warden that has just been killed does not answer
			if i := slices.IndexFunc(past, func(o outcome) bool { return o.Job == id }); e == nil && i >= 0 {
				return past[i], kills, nil
			}
		}
		if err != nil {
			return o, kills, err
		}
		if err := r.sleep(5 * time.Millisecond); err != nil {
			return o, kills, err
		}
	}
	return o, kills, fmt.Errorf("job %s did not end within three minutes", id)
}

// verdict says what is wrong after a job: the device runs the release it says it runs, whole, or the one before.
func (r *rig) verdict(before, to string, o outcome) error {
	runs, err := r.holds(r.booted)
	if err != nil {
		return err
	}
	want := before
	if o.Result == "committed" {
		want = to
	}
	if runs != want {
		return fmt.Errorf("slot %s runs %q after %+v, and %q before", r.booted, runs, o, before)
	}
	return nil
}
