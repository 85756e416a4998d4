package spool

// A mutant is a mistake that the crash tests build in on purpose, to see that they notice. Only export_test.go can set
// one; none is what runs.
type mutant uint8

const (
	none              mutant = iota
	trustEveryFrame          // checksums are not verified
	continueTornTail         // a start goes on writing where the last run stopped
	stopAtTornSegment        // what comes after a torn segment is not read
	noSectorPadding          // a batch begins in the sector where the one before ended
	removeHandedOut          // a segment goes when it was handed out
	cursorsRunAhead          // what was handed out is noted as done
	gapAfterDrop             // a segment goes before the record that tells of it is durable
	cursorBeforeGap          // a dropped segment is noted as done before the record that tells of it is durable
	silentDrop               // nothing tells of a dropped segment
	quotaOffBySegment        // the limit is a segment too high
	reuseOrdinals            // a start counts on from what is on flash, not from what was noted as done
	appendAfterFault         // a segment is gone on with after a write or sync that did not succeed
	forgetBeforeSync         // records leave RAM when they were written, not when they were synced
)
