package update

import (
	"errors"
	"fmt"
)

// A floor is what may not be gone below any more. It is kept twice, because losing it would let an old release back in.
type floor struct {
	Seq      int64 `json:"seq"`            // the highest release that was committed here
	Security int64 `json:"security_floor"` // no release of a lower seq may run here again
}

const floorBytes = 1 << 10

var floorNames = [2]string{"floor-0", "floor-1"}

// loadFloor returns the higher of both copies. It is an error when there are some and none can be read: what the floor
// was is then not known.
func (s store) loadFloor() (floor, error) {
	var sum floor
	var first error
	good, there := 0, 0
	for _, name := range floorNames {
		var f floor
		found, err := s.read(name, floorBytes, &f)
		switch {
		case !found:
		case err != nil:
			there++
			first = errors.Join(first, err)
		default:
			there++
			good++
			sum.Seq, sum.Security = max(sum.Seq, f.Seq), max(sum.Security, f.Security)
		}
	}
	if there > 0 && good == 0 {
		return floor{}, fmt.Errorf("floor: both copies are damaged: %w", first)
	}
	return sum, nil
}

// raise lifts both copies, one after the other. It never lowers one.
func (s store) raise(to floor) error {
	now, err := s.loadFloor()
	if err != nil {
		return err
	}
	to.Seq, to.Security = max(to.Seq, now.Seq), max(to.Security, now.Security)
	for i, name := range floorNames {
		if s.once && i > 0 {
			break
		}
		var f floor
		if found, err := s.read(name, floorBytes, &f); found && err == nil && f == to {
			continue
		}
		if err := s.write(name, to); err != nil {
			return err
		}
	}
	return nil
}
