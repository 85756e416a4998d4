package loaders

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// BlockBytes is the size of GRUB's environment block. GRUB overwrites it in place and never changes its size.
const BlockBytes = 1024

const blockHeader = "# GRUB Environment Block\n"

var errNoBlock = errors.New("not an environment block of GRUB")

// A Block is GRUB's environment: 1024 bytes of lines name=value, filled up with '#'. In a value a backslash stands before
// a backslash and before a line's end. Blocks do not change.
type Block struct {
	comments []string // lines that begin with '#', as grub-editenv writes one
	names    []string // in their order
	values   map[string]string
}

// DecodeBlock reads a block. What is not exactly one is an error.
func DecodeBlock(raw []byte) (Block, error) {
	b := Block{values: map[string]string{}}
	rest, ok := bytes.CutPrefix(raw, []byte(blockHeader))
	if !ok || len(raw) != BlockBytes {
		return Block{}, errNoBlock
	}
	for {
		line, after, ok := cutLine(rest)
		if !ok {
			break
		}
		rest = after
		if strings.HasPrefix(line, "#") {
			b.comments = append(b.comments, line)
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if _, again := b.values[name]; !ok || again || name == "" || strings.Contains(name, "\x00") {
			return Block{}, fmt.Errorf("environment block: line %.80q: want name=value, once", line)
		}
		b.names = append(b.names, name)
		b.values[name] = unescape(value)
	}
	if strings.Trim(string(rest), "#") != "" {
		return Block{}, fmt.Errorf("environment block: ends in %.40q", rest)
	}
	return b, nil
}

// cutLine cuts at the first line's end that no backslash stands before.
func cutLine(text []byte) (line string, rest []byte, ok bool) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '\n':
			return string(text[:i]), text[i+1:], true
		}
	}
	return "", text, false
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Get returns a variable; one that is not set is empty.
func (b Block) Get(name string) string { return b.values[name] }

// Set returns the block with the variables, which come first then, in the order of names: they lie in the first sector,
// and where their lengths stay nothing else moves.
func (b Block) Set(names []string, values map[string]string) Block {
	out := Block{comments: b.comments, names: slices.Clone(names), values: map[string]string{}}
	for _, name := range b.names {
		if !slices.Contains(names, name) {
			out.names = append(out.names, name)
		}
		out.values[name] = b.values[name]
	}
	for _, name := range names {
		out.values[name] = values[name]
	}
	return out
}

// Encode returns the block's bytes. The first variables must end in the first sector, and all must find room.
func (b Block) Encode(first int) ([]byte, error) {
	var text strings.Builder
	text.WriteString(blockHeader)
	for _, c := range b.comments {
		text.WriteString(c + "\n")
	}
	escape := strings.NewReplacer(`\`, `\\`, "\n", "\\\n")
	for i, name := range b.names {
		text.WriteString(name + "=" + escape.Replace(b.values[name]) + "\n")
		if i < first && text.Len() > SectorBytes {
			return nil, fmt.Errorf("environment block: %s does not find room in its first %d bytes: shorten its comments", name, SectorBytes)
		}
	}
	if text.Len() > BlockBytes {
		return nil, fmt.Errorf("environment block: %d bytes, %d find room", text.Len(), BlockBytes)
	}
	text.WriteString(strings.Repeat("#", BlockBytes-text.Len()))
	return []byte(text.String()), nil
}
