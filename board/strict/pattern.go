package strict

import (
	"regexp"
	"sync"
)

// Pattern returns whether a text matches a regular expression of package regexp. It is compiled when it is first asked,
// since each process of a device holds the patterns of all of them, and asks few. A wrong expression panics then.
func Pattern(expression string) func(text string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
	return func(text string) bool { return compiled().MatchString(text) }
}
