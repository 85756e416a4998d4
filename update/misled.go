//go:build mutant

package update

import "os"

// misled builds one mistake into a program that is made to be found out: cmd/internal/storm cuts its power, and has to
// notice. The environment says which. No program that is shipped has the tag.
func (o Options) misled() Options {
	name := os.Getenv("HOLDFAST_MUTANT")
	m, ok := map[string]mutant{"no-sync": noDataSync, "told-early": toldBeforeDone}[name]
	if !ok {
		panic("no mutant " + name)
	}
	o.mutant = m
	return o
}
