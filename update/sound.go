//go:build !mutant

package update

// misled returns the options as they are: mistakes are built in on purpose with the tag mutant alone.
func (o Options) misled() Options { return o }
