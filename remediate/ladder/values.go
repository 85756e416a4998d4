package ladder

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"holdfast/board/strict"
)

// MaxValues is how many values a row may have.
const MaxValues = 16

// ParseValues reads the values of a row, one flat JSON object: texts, numbers and truths become texts, null is no value.
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
		if !placePattern(name) {
			return nil, fmt.Errorf("values: %q is no name of a value", clip(name))
		}
		switch value := value.(type) {
		case nil:
			continue
		case string:
			if len(value) > maxText || !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return nil, fmt.Errorf("values: %s: wants at most %d bytes of text without control characters", name, maxText)
			}
			values[name] = value
		case float64:
			values[name] = strconv.FormatFloat(value, 'f', -1, 64)
		case bool:
			values[name] = strconv.FormatBool(value)
		default:
			return nil, fmt.Errorf("values: %s: wants a text, a number or a truth", name)
		}
	}
	return values, nil
}
