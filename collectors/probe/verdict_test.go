package probe_test

import (
	"fmt"
	"strings"
	"testing"

	"holdfast/collectors/probe"
)

// The words are route, carrier, gateway, dns, broker, http: + is good, - bad, ? unknown and * whatever. Each combination is
// of exactly one line.
const verdicts = `
* - * * * * link
- ! * ! - * link
- ! * ! ? - link
- ! * ! ? ? link
* ! * - + * dns
* ! * - ? + dns
* ! * ! + * ok
* ! * ! ? + ok
+ ! - * - * gateway
+ ! - * ? - gateway
+ ! - * ? ? gateway
- ! - + - * gateway
- ! - + ? - gateway
- ! - + ? ? gateway
+ ! ! * - * upstream
+ ! ! * ? - upstream
- ! ! + - * upstream
- ! ! + ? - upstream
+ ! ! - ? ? dns
+ ! ! + ? ? ok
- ! ! + ? ? ok
+ ! ! ? ? ? unknown
`

// fits says whether a finding fits a word; ! is all but bad, and in the column of names, of a line without a route, all but good.
func fits(word string, f probe.Finding, not probe.Finding) bool {
	switch word {
	case "*":
		return true
	case "!":
		return f != not
	}
	return strings.Index("?+-", word) == int(f)
}

func TestEveryCombinationHasItsVerdict(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(verdicts), "\n")
	findings := []probe.Finding{probe.Unknown, probe.Good, probe.Bad}
	count := 0
	for _, route := range []bool{false, true} {
		for i := range 243 {
			w := probe.Way{Route: route, Carrier: findings[i%3], Gateway: findings[i/3%3], DNS: findings[i/9%3], Broker: findings[i/27%3], HTTP: findings[i/81%3]}
			var want []string
			for _, l := range lines {
				f := strings.Fields(l)
				not := probe.Bad
				if f[0] == "-" {
					not = probe.Good
				}
				if (f[0] == "*" || (f[0] == "+") == route) && fits(f[1], w.Carrier, probe.Bad) && fits(f[2], w.Gateway, probe.Bad) && fits(f[3], w.DNS, not) &&
					fits(f[4], w.Broker, probe.Bad) && fits(f[5], w.HTTP, probe.Bad) {
					want = append(want, f[6])
				}
			}
			if got := w.Verdict(); len(want) != 1 || got != want[0] {
				t.Errorf("%+v: %s, want %q", w, got, want)
			}
			count++
		}
	}
	if count != 486 {
		t.Error(fmt.Sprint(count), "combinations")
	}
}
