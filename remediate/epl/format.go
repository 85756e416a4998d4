package epl

import (
	"fmt"
	"strings"
)

// Format returns a text in its canonical form: each clause and annotation begins a line, words of the language are in lower
// case, and what stands between two tokens is one space or none. Line ends within a clause and comments stay where they
// are, and so does all of a column that has no name of its own, since what is written is its name. A text that is not of
// this language is an error of type *Error.
func Format(file, text string) (string, error) {
	if _, err := Parse(file, text); err != nil {
		return "", err
	}
	tokens, m := lex(text, true)
	if m != nil {
		return "", m.in(file, text)
	}
	f := &formatter{text: text, tokens: tokens, fresh: true, prev: make([]int, len(tokens)), next: make([]int, len(tokens))}
	for i, last := 0, -1; i < len(tokens); i++ {
		if f.prev[i] = last; tokens[i].kind != tokenComment {
			last = i
		}
	}
	for i, next := len(tokens)-1, 0; i >= 0; i-- {
		if tokens[i].kind != tokenComment {
			next = i
		}
		f.next[i] = next
	}
	for i := range tokens {
		f.token(i)
	}
	if f.b.Len() > 0 {
		f.b.WriteByte('\n')
	}
	out := f.b.String()
	if err := unchanged(tokens, out); err != nil {
		return "", fmt.Errorf("format %s: %w", file, err)
	}
	return out, nil
}

// unchanged reports whether a text that was formatted still says the same.
func unchanged(tokens []token, out string) error {
	after, m := lex(out, true)
	if m != nil {
		return fmt.Errorf("it would no longer be read: %s", m.problem)
	}
	if len(after) != len(tokens) {
		return fmt.Errorf("of %d words and signs it would make %d", len(tokens), len(after))
	}
	for i, t := range tokens {
		o := after[i]
		if t.kind != o.kind || t.quoted != o.quoted || t.text != o.text && !(t.kind == tokenName && equal(t.text, o.text)) {
			return fmt.Errorf("of %s it would make %s", t, o)
		}
	}
	return nil
}

// A formatter goes over tokens and comments, and keeps what the brackets around them mean.
type formatter struct {
	text   string
	tokens []token
	prev   []int // of each token, where the one before it is that is no comment
	next   []int // likewise, itself or the one after it
	b      strings.Builder

	fresh  bool   // nothing of the statement was written yet
	head   bool   // it was no more than annotations
	stack  []byte // what is open: 'p' a pattern, 'r' a repeat, 'e' an expression
	column int    // of the tokens: where the select clause's present column begins; 0 is outside of one
	ended  bool   // the last token was the comment of a line
}

// before returns the token before the i-th that is no comment, and where it is; -1 for none.
func (f *formatter) before(i int) (token, int) {
	if i < 0 || f.prev[i] < 0 {
		return token{}, -1
	}
	return f.tokens[f.prev[i]], f.prev[i]
}

// gap is what the text has before the i-th token.
func (f *formatter) gap(i int) string {
	if i == 0 {
		return f.text[:f.tokens[0].at]
	}
	return f.text[f.tokens[i-1].end:f.tokens[i].at]
}

func (f *formatter) context() byte {
	if len(f.stack) == 0 {
		return 0
	}
	return f.stack[len(f.stack)-1]
}

func (f *formatter) token(i int) {
	t := f.tokens[i]
	if t.kind == tokenEnd {
		return
	}
	lines := strings.Count(f.gap(i), "\n")
	if t.is(")") || t.is("]") {
		f.stack = f.stack[:max(0, len(f.stack)-1)]
	}
	clause := t.kind != tokenComment && f.clause(i)
	starts := f.fresh || clause // a comment before what begins a line begins one, too
	if t.kind == tokenComment {
		n := f.next[i]
		starts = starts || f.tokens[n].kind == tokenEnd || f.clause(n)
	}
	keep := f.column > 0 && f.own(i)
	switch {
	case f.b.Len() == 0:
	case f.ended || lines > 0 && (t.kind == tokenComment || !keep) && !t.is(";") || clause || f.fresh && t.kind != tokenComment && !t.is(";"):
		if keep && !f.ended {
			f.b.WriteString(f.gap(i))
			break
		}
		f.b.WriteByte('\n')
		if lines > 1 && f.fresh {
			f.b.WriteByte('\n')
		}
		switch deep := len(f.stack); {
		case starts:
		case deep == 0 && !t.is(")") && !t.is("]"): // what goes on with a clause
			f.b.WriteString("    ")
		default:
			f.b.WriteString(strings.Repeat("    ", deep))
		}
	case keep:
		f.b.WriteString(f.gap(i))
	case t.kind == tokenComment, f.commentBefore(i), f.space(i):
		f.b.WriteByte(' ')
	}
	f.write(i, keep)
}

func (f *formatter) commentBefore(i int) bool {
	return i > 0 && f.tokens[i-1].kind == tokenComment && !f.tokens[i].is(";")
}

// write writes a token and takes note of what it opens and closes.
func (f *formatter) write(i int, keep bool) {
	t := f.tokens[i]
	out := f.text[t.at:t.end]
	prev, _ := f.before(i)
	switch {
	case t.kind == tokenComment:
		out = t.text
	case f.word(i) && !keep:
		out = strings.ToLower(out)
	}
	f.b.WriteString(out)
	f.ended = t.kind == tokenComment && strings.HasPrefix(t.text, "//")
	if t.kind == tokenComment {
		return
	}
	switch {
	case t.is("(") || t.is("[") || t.is("-["):
		f.stack = append(f.stack, f.opens(t, prev))
	case t.is(";"):
		f.fresh, f.head, f.column, f.stack = true, false, 0, f.stack[:0]
		return
	case len(f.stack) > 0:
	case t.is("select") && f.word(i):
		f.head, f.column = true, i+1
	case t.is("insert") && f.word(i):
		f.head = true
	case t.is("from") && f.word(i):
		f.column = 0
	case t.is(",") && f.column > 0:
		f.column = i + 1
	}
	f.fresh = false
}

// opens says what a bracket opens.
func (f *formatter) opens(t, prev token) byte {
	in := f.context()
	switch {
	case t.is("["):
		if in == 0 && prev.is("pattern") {
			return 'p'
		}
		return 'r'
	case t.is("-["):
		return 'r'
	case in == 'p' && (prev.kind != tokenName || prev.is("every") || prev.is("not") || prev.is("and") || prev.is("or") || prev.is("until")):
		return 'p'
	}
	return 'e'
}

// word reports whether a token is a word of the language: it is reserved, and stands where no name may stand.
func (f *formatter) word(i int) bool {
	t := f.tokens[i]
	if t.kind != tokenName || t.quoted || !reserved[strings.ToLower(t.text)] {
		return false
	}
	prev, _ := f.before(i)
	return !prev.is(".") && !prev.is("as") && !prev.is("@")
}

// clause reports whether a token begins a clause or an annotation.
func (f *formatter) clause(i int) bool {
	t := f.tokens[i]
	if len(f.stack) > 0 {
		return false
	}
	if t.is("@") {
		return !f.head
	}
	if !f.word(i) {
		return false
	}
	for _, w := range []string{"insert", "select", "from", "where", "group", "having", "output", "order"} {
		if t.is(w) {
			return true
		}
	}
	return false
}

// own reports whether the i-th token and the one before it are of one column whose name is what is written.
func (f *formatter) own(i int) bool {
	t := f.tokens[i]
	return i > f.column && !(len(f.stack) == 0 && (t.is(",") || t.is("as") || t.is("from") && f.word(i) || t.is(";"))) &&
		!f.tokens[i-1].is("as") && !(i-1 == f.column && selects(f.tokens[i-1]))
}

// selects reports whether a token may be the word for which stream is selected.
func selects(t token) bool { return t.is("istream") || t.is("rstream") || t.is("irstream") }

// space reports whether there is a space between two tokens of a line.
func (f *formatter) space(i int) bool {
	t := f.tokens[i]
	prev, at := f.before(i)
	in := f.context()
	switch {
	case at < 0, t.is(","), t.is(";"), t.is(")"), t.is("]"), t.is("."), t.is(":"), t.is("#"):
		return false
	case prev.is("("), prev.is("["), prev.is("-["), prev.is("."), prev.is(":"), prev.is("@"), prev.is("#"):
		return false
	case prev.is("]") && t.is(">"): // -[2]>
		return !f.arrow(at)
	case in == 'p' && (t.is("=") || prev.is("=")):
		return false
	case in == 'p' && (t.is("-") || prev.is("-")): // every-distinct
		return false
	case t.is("["):
		return prev.is("pattern") || prev.is("in") || in == 'p' && !prev.is("[")
	case t.is("("):
		return prev.kind != tokenName || f.word(at) && !prev.is("regexp")
	case prev.is("-") || prev.is("+"):
		return !f.sign(at)
	}
	return true
}

// arrow reports whether a bracket closes the one of -[2]>.
func (f *formatter) arrow(at int) bool {
	_, n := f.before(at)
	prev, _ := f.before(n)
	return prev.is("-[")
}

// sign reports whether a minus or plus stands before an operand rather than between two.
func (f *formatter) sign(at int) bool {
	prev, n := f.before(at)
	switch prev.kind {
	case tokenName:
		return f.word(n) && !prev.is("end") && !prev.is("null") && !prev.is("true") && !prev.is("false")
	case tokenSign:
		return !prev.is(")") && !prev.is("]") && !prev.is("*")
	}
	return false
}
