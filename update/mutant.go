package update

// A mutant is a mistake that the crash tests build in on purpose, to see that they notice. Only export_test.go can set
// one; none is what runs.
type mutant uint8

const (
	none             mutant = iota
	noDataSync              // a segment is noted, and was never made durable
	stateBeforeData         // a segment is noted before it is durable
	noReadBack              // the slot is armed without a look at what it holds
	oneFloor                // the floor is kept once
	floorEarly              // the floor rises when the release is verified
	commitBeforeGate        // a system is trusted as soon as it runs
	wrongSlot               // the slot to be written is the one that runs
	journalReuse            // a new job begins with what is left of the one before
	toldBeforeDone          // the outcome is told before the bootloader knows
	countForgotten          // a failed trial is not counted
)
