package pins_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"holdfast/board"
	"holdfast/board/linux"
	"holdfast/board/sim"
	"holdfast/collectors"
	"holdfast/collectors/pins"
)

// A stream is one under way in a bubble, with what it said.
type stream struct {
	t     *testing.T
	edges *pins.Edges
	lines map[string]board.Line
	mu    sync.Mutex
	said  []collectors.Sample
	ended chan error // room for the only one
	stop  func()
}

func streaming(t *testing.T, perSecond int, lines map[string]board.Line) *stream {
	ctx, cancel := context.WithCancel(t.Context())
	s := &stream{t: t, edges: pins.NewEdges(lines, &linux.Clock{}, perSecond), lines: lines, ended: make(chan error, 1), stop: cancel}
	go func() {
		s.ended <- s.edges.Stream(ctx, func(one collectors.Sample) {
			measured(t, one)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.said = append(s.said, one)
		})
	}()
	synctest.Wait()
	return s
}

// end ends the stream.
func (s *stream) end() {
	s.t.Helper()
	s.stop()
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		s.t.Errorf("the stream ended with %v", err)
	}
}

// fields returns what was said, shortened to the fields of JSON.
func (s *stream) fields() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, one := range s.said {
		text := string(one.AppendJSON(nil))
		_, text, _ = strings.Cut(text, `"fields":`)
		out = append(out, one.Instance+" "+strings.TrimSuffix(text, "}"))
	}
	return out
}

// total sums a field over what was said.
func (s *stream) total(field string) (sum float64) {
	for _, one := range s.said {
		v, _ := one.Field(field)
		n, _ := v.Number()
		sum += n
	}
	return sum
}

func TestEachEdgeIsASample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := sim.NewInput("door", false)
		s := streaming(t, 0, map[string]board.Line{"door": door, "pump": sim.NewOutput("pump", true), "plain": plain{}})
		door.Set(true)
		time.Sleep(1234567 * time.Microsecond)
		door.Set(false)
		synctest.Wait()
		if want := []string{`door {"level":1,"high":true,"monotonic_microseconds":0,"seq":1}`,
			`door {"level":0,"high":false,"monotonic_microseconds":1234567,"seq":2}`}; !slices.Equal(s.fields(), want) {
			t.Errorf("said %q, want %q", s.fields(), want)
		}
		s.end()
	})
}

// plain is a line that cannot be watched.
type plain struct{ board.Line }

// 200 edges a second for a minute: all are counted, 50 a second told, and of the rest how many there were.
func TestAFloodIsCountedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const edges = 200 * 60
		door, calm := sim.NewInput("door", false), sim.NewInput("calm", false)
		s := streaming(t, 50, map[string]board.Line{"door": door, "calm": calm})
		for i := range edges {
			door.Set(i%2 == 0)
			if i%200 == 0 {
				calm.Set(i%400 == 0)
			}
			time.Sleep(5 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		s.end()
		perLine := map[string]int{}
		for _, one := range s.said {
			perLine[one.Instance]++
		}
		if perLine["calm"] != 60 {
			t.Errorf("%d samples of a calm line beside a flood, want 60", perLine["calm"])
		}
		if n := perLine["door"]; n > 60*51+1 || n < 60*50 {
			t.Errorf("%d samples of a flood of a minute", n)
		}
		if told := float64(60 * 50); told+s.total("untold_count") != edges {
			t.Errorf("%v told and %v not, of %d", told, s.total("untold_count"), edges)
		}
	})
}

// While nobody takes the samples no more than a second's worth waits.
func TestEdgesWaitForASlowReceiverBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := sim.NewInput("door", false)
		edges := pins.NewEdges(map[string]board.Line{"door": door}, &linux.Clock{}, 10)
		ctx, cancel := context.WithCancel(t.Context())
		gate, said, told, ended := make(chan struct{}), 0, 0.0, make(chan error, 1)
		go func() {
			ended <- edges.Stream(ctx, func(one collectors.Sample) {
				v, flood := one.Field("untold_count")
				if n, _ := v.Number(); flood {
					told += n
				} else {
					told++
				}
				said++
				<-gate
			})
		}()
		synctest.Wait()
		for i := range 1000 {
			door.Set(i%2 == 0)
			time.Sleep(100 * time.Millisecond)
		}
		close(gate)
		time.Sleep(2 * time.Second)
		cancel()
		<-ended
		if told != 1000 || said > 22 {
			t.Errorf("%v edges in %d samples", told, said)
		}
	})
}

// torn tells edges with a gap and ends.
type torn struct{ board.Line }

func (torn) Watch(_ context.Context, f func(board.Edge)) error {
	f(board.Edge{High: true, At: time.Second, Seq: 1})
	f(board.Edge{High: false, At: 2 * time.Second, Seq: 8})
	f(board.Edge{High: true, At: 3 * time.Second, Seq: 9})
	return syscall.ENODEV
}

func TestLostEdgesAndLostLinesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := streaming(t, 50, map[string]board.Line{"torn": torn{}})
		want := []string{`torn {"level":1,"high":true,"monotonic_microseconds":1000000,"seq":1}`,
			`torn {"level":0,"high":false,"monotonic_microseconds":2000000,"seq":8,"lost_count":6}`,
			`torn {"level":1,"high":true,"monotonic_microseconds":3000000,"seq":9}`, `torn {"error":"no such device"}`}
		if !slices.Equal(s.fields(), want) {
			t.Errorf("said %q, want %q", s.fields(), want)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		s.end()
		tries := len(s.said) - 4
		if n := tries / 3; tries%3 != 0 || n < 60 || n > 66 {
			t.Errorf("a line that does not mend was tried %d times in an hour, and said %d things", n, tries)
		}
		if lost := s.total("lost_count"); lost != 6*float64(tries/3+1) {
			t.Errorf("%v were lost", lost)
		}
	})
}

func TestALineThatMendsIsWatchedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		door := sim.NewInput("door", false)
		door.Break(syscall.EBUSY)
		s := streaming(t, 0, map[string]board.Line{"door": door})
		time.Sleep(10 * time.Second)
		door.Break(nil)
		time.Sleep(time.Minute)
		door.Set(true)
		synctest.Wait()
		s.end()
		if want := []string{`door {"error":"watch line door: device or resource busy"}`, `door {"level":1,"high":true,"monotonic_microseconds":`}; len(s.said) != 2 ||
			s.fields()[0] != want[0] || !strings.HasPrefix(s.fields()[1], want[1]) {
			t.Errorf("said %q, want %q", s.fields(), want)
		}
	})
}

func TestWithoutInputsThereIsNothingToStream(t *testing.T) {
	for name, lines := range map[string]map[string]board.Line{"none": nil, "an output": {"pump": sim.NewOutput("pump", false)}, "plain": {"plain": plain{}}} {
		if err := pins.NewEdges(lines, &linux.Clock{}, 0).Stream(t.Context(), nil); !errors.Is(err, collectors.ErrNoData) {
			t.Errorf("%s: %v, want ErrNoData", name, err)
		}
	}
}
