#!/bin/sh
# Prints the size of each program given, and fails when the one for armv7 is over its budget: flash on such boards is
# small, and every update carries the program.
set -eu
budget=12000000 # bytes, armv7: 9.9 MB before sensors, boards and lines (0.8 MB), rules (0.5 MB) and diagnosis and repairs (0.6 MB)
over=0
printf '%-28s %12s\n' program bytes
for program; do
	bytes=$(wc -c <"$program" | tr -d ' ')
	note=
	case $program in
	*-armv7/*)
		note="budget $budget"
		if [ "$bytes" -gt "$budget" ]; then
			note="over budget $budget by $((bytes - budget))"
			over=1
		fi
		;;
	esac
	printf '%-28s %12d  %s\n' "${program#dist/}" "$bytes" "$note"
done
exit $over
