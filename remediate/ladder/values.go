package ladder

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"holdfast/board/strict"
)

// MaxValues is how many values a row may have.
const MaxValues = 64

// ParseValues reads the values of a row, one flat JSON object of a kilobyte: texts, numbers and truths become texts, null is no
// value. What no argument can have is left out: a column whose name is none, such as count(*), a text of more than 256 bytes,
// and one with control characters.
func ParseValues(text string) (map[string]string, error) {
	values := map[string]string{}
	if text == "" {
		return values, nil
	}
	tree, err := strict.Tree([]byte(text), strict.Limits{Bytes: 1 << 10, Depth: 1, Members: MaxValues})
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	object, ok := tree.(map[string]any)
	if !ok {
		return nil, errors.New("values: not an object")
	}
	for name, value := range object {
		switch value := value.(type) {
		case nil:
			continue
		case string:
			if len(value) <= maxText && !strings.ContainsFunc(value, unicode.IsControl) {
				values[name] = value
			}
		case float64:
			values[name] = strconv.FormatFloat(value, 'f', -1, 64)
		case bool:
			values[name] = strconv.FormatBool(value)
		default:
			return nil, fmt.Errorf("values: %s: wants a text, a number or a truth", clip(name))
		}
		if !placePattern(name) {
			delete(values, name)
		}
	}
	return values, nil
}
