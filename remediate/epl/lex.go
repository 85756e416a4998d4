package epl

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a text.
const (
	MaxText   = 256 << 10 // bytes of one text
	maxTokens = 50_000
	maxDepth  = 100 // of what stands inside one another
)

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenText    // a literal; text is what it stands for
	tokenInt     // text is the digits
	tokenLong    // likewise
	tokenDouble  // likewise
	tokenSign    // text is it
	tokenComment // only for Format
)

// A token is a piece of a text. Names are what they are written as; keywords are compared without regard to case.
type token struct {
	kind   tokenKind
	text   string
	quoted bool // a name in backquotes, which is no keyword
	at     int  // offset of its first byte
	end    int  // and of the byte behind it
}

func (t token) is(word string) bool {
	switch t.kind {
	case tokenName:
		return !t.quoted && strings.EqualFold(t.text, word)
	case tokenSign:
		return t.text == word
	}
	return false
}

func (t token) String() string {
	switch t.kind {
	case tokenEnd:
		return "the end"
	case tokenText:
		return strconv.Quote(t.text)
	}
	return "'" + t.text + "'"
}

// signs are the longest first.
var signs = []string{"->", "-[", "<=", ">=", "!=", "<>", "||", "(", ")", "[", "]", "{", "}", ",", ".", ":", ";", "=", "<", ">", "+", "-", "*", "/", "%", "#", "@", "?"}

// lex cuts a text into tokens; the last is tokenEnd.
func lex(text string, comments bool) ([]token, *mistake) {
	if len(text) > MaxText {
		return nil, &mistake{at: 0, problem: fmt.Sprintf("%d bytes, more than the %d allowed", len(text), MaxText)}
	}
	if !utf8.ValidString(text) {
		at := 0
		for i, r := range text {
			if r == utf8.RuneError {
				if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
					at = i
					break
				}
			}
		}
		return nil, &mistake{at: at, problem: "a byte that is not UTF-8"}
	}
	out := make([]token, 0, len(text)/4+1)
	for at := 0; ; {
		t, err := next(text, at)
		if err != nil {
			return nil, err
		}
		at = t.end
		if t.kind == tokenComment && !comments {
			continue
		}
		if out = append(out, t); t.kind == tokenEnd {
			return out, nil
		}
		if len(out) > maxTokens {
			return nil, &mistake{at: t.at, problem: fmt.Sprintf("more than %d words and signs", maxTokens)}
		}
	}
}

func next(text string, at int) (token, *mistake) {
	for at < len(text) && strings.IndexByte(" \t\r\n", text[at]) >= 0 {
		at++
	}
	rest := text[at:]
	if rest == "" {
		return token{at: at, end: at}, nil
	}
	switch c := rest[0]; {
	case strings.HasPrefix(rest, "//"):
		n := strings.IndexByte(rest, '\n')
		if n < 0 {
			n = len(rest)
		}
		return token{kind: tokenComment, text: strings.TrimRight(rest[:n], "\r \t"), at: at, end: at + n}, nil
	case strings.HasPrefix(rest, "/*"):
		n := strings.Index(rest[2:], "*/")
		if n < 0 {
			return token{}, &mistake{at: at, problem: "a comment that does not end", hint: "it ends with */"}
		}
		return token{kind: tokenComment, text: rest[:n+4], at: at, end: at + n + 4}, nil
	case c == '\'' || c == '"':
		return lexText(rest, at)
	case c == '`':
		n := strings.IndexAny(rest[1:], "`\n")
		if n < 1 || rest[1+n] != '`' {
			return token{}, &mistake{at: at, problem: "a name in backquotes that does not end"}
		}
		return token{kind: tokenName, text: rest[1 : 1+n], quoted: true, at: at, end: at + n + 2}, nil
	case c >= '0' && c <= '9', c == '.' && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9':
		return lexNumber(rest, at)
	}
	if n := nameLength(rest); n > 0 {
		return token{kind: tokenName, text: rest[:n], at: at, end: at + n}, nil
	}
	for _, s := range signs {
		if strings.HasPrefix(rest, s) {
			return token{kind: tokenSign, text: s, at: at, end: at + len(s)}, nil
		}
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return token{}, &mistake{at: at, problem: fmt.Sprintf("%q means nothing here", r)}
}

func nameLength(s string) int {
	for i, r := range s {
		if r == '_' || r == '$' || unicode.IsLetter(r) || i > 0 && unicode.IsDigit(r) {
			continue
		}
		return i
	}
	return len(s)
}

// lexText reads a literal in quotes of either kind. Backslash takes the next character as it is, but for n, t, r and
// uXXXX, which are what they are in Java; before % and _ it stays, for like.
func lexText(rest string, at int) (token, *mistake) {
	var b strings.Builder
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; c {
		case rest[0]:
			return token{kind: tokenText, text: b.String(), at: at, end: at + i + 1}, nil
		case '\n':
			return token{}, &mistake{at: at, problem: "a text that does not end on its line", hint: fmt.Sprintf("close it with %c", rest[0])}
		case '\\':
			if i++; i == len(rest) {
				break
			}
			switch rest[i] {
			case 'n':
				b.WriteByte('\n')
			case 't':
				b.WriteByte('\t')
			case 'r':
				b.WriteByte('\r')
			case 'u':
				n, err := strconv.ParseUint(rest[min(i+1, len(rest)):min(i+5, len(rest))], 16, 16)
				if err != nil {
					return token{}, &mistake{at: at + i, problem: `\u wants four hexadecimal digits`}
				}
				b.WriteRune(rune(n))
				i += 4
			case '\\', '\'', '"', '`':
				b.WriteByte(rest[i])
			default:
				b.WriteByte('\\')
				b.WriteByte(rest[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return token{}, &mistake{at: at, problem: "a text that does not end", hint: fmt.Sprintf("close it with %c", rest[0])}
}

func lexNumber(rest string, at int) (token, *mistake) {
	n, kind := digits(rest), tokenInt
	if n < len(rest) && rest[n] == '.' && (n+1 == len(rest) || nameLength(rest[n+1:]) == 0 || strings.IndexByte("eEdDfF", rest[n+1]) >= 0) {
		kind = tokenDouble
		n += 1 + digits(rest[n+1:])
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		m := n + 1
		if m < len(rest) && (rest[m] == '+' || rest[m] == '-') {
			m++
		}
		if d := digits(rest[m:]); d > 0 {
			kind, n = tokenDouble, m+d
		}
	}
	t := token{kind: kind, text: rest[:n], at: at, end: at + n}
	if n < len(rest) {
		switch rest[n] {
		case 'L', 'l':
			if kind == tokenInt {
				t.kind, t.end = tokenLong, t.end+1
			}
		case 'd', 'D', 'f', 'F':
			t.kind, t.end = tokenDouble, t.end+1
		}
	}
	if len(t.text) > 40 {
		return token{}, &mistake{at: at, problem: "a number of more than 40 digits"}
	}
	if t.end < at+len(rest) && nameLength(rest[t.end-at:]) > 0 && rest[t.end-at-1] != '.' {
		return token{}, &mistake{at: at, problem: fmt.Sprintf("%q is neither a number nor a name", rest[:t.end-at+nameLength(rest[t.end-at:])]),
			hint: "a space goes between a number and its unit"}
	}
	return t, nil
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// A mistake is an Error that does not know its text yet.
type mistake struct {
	at            int
	problem, hint string
}

// in makes it an Error.
func (m *mistake) in(file, text string) *Error {
	before := text[:min(max(m.at, 0), len(text))]
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	return &Error{File: file, Line: line, Column: column, Problem: m.problem, Hint: m.hint}
}
