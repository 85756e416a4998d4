package epl

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// Bounds of texts, in bytes: of one that an expression makes, and of one that is kept for later.
const (
	maxMade = 1024
	maxKept = 256
)

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// kept is a value as it is kept: a long text is cut, into memory of its own.
func kept(v Value) Value {
	if len(v.text) > maxKept {
		v.text = strings.Clone(cut(v.text, maxKept))
	}
	return v
}

// An owner makes texts that are kept an engine's own: a short one may be a part of something much larger that would be
// kept with it. It remembers some hundreds, four for each hash, so that what devices are called is copied once.
type owner struct {
	sets [128]struct {
		texts [4]string
		next  uint8 // which is replaced next
	}
	memo memo
}

func (o *owner) own(v Value) Value {
	if v.text == "" {
		return v
	}
	v = kept(v)
	at := &o.sets[o.memo.of(v)%uint64(len(o.sets))]
	for i := range at.texts {
		if at.texts[i] == v.text {
			v.text = at.texts[i]
			o.memo.text = v.text // which has the same hash
			return v
		}
	}
	v.text = strings.Clone(v.text)
	o.memo.text = v.text
	at.texts[at.next%4] = v.text
	at.next++
	return v
}

func (s *scope) match(e *match) fn {
	x, pattern := s.expr(e.e), s.expr(e.arg)
	if x.kind != Text && x.kind != None {
		throw(e.e.pos(), "", "a %s where a text was expected", x.kind)
	}
	if !pattern.constant || pattern.kind != Text {
		throw(e.arg.pos(), "", "%s wants a text in quotes", e.op)
	}
	text := pattern.value().text
	if e.op == "like" {
		l := newLike(text, e.escape)
		return made(Bool, func(v *env) Value {
			a := x.v(v)
			if a.kind == None {
				return Value{}
			}
			return OfBool(l.match(a.text))
		})
	}
	if len(text) > 1000 {
		throw(e.arg.pos(), "", "a regular expression of more than 1000 bytes")
	}
	re, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		throw(e.arg.pos(), "the syntax is RE2's", "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return made(Bool, func(v *env) Value {
		a := x.v(v)
		if a.kind == None {
			return Value{}
		}
		return OfBool(re.MatchString(a.text))
	})
}

// A like is a pattern in which % stands for any text and _ for one character.
type like []likePart

type likePart struct {
	r   rune
	any rune // '%' or '_'; 0 for r itself
}

func newLike(text, escape string) like {
	if escape == "" {
		escape = `\`
	}
	var l like
	escaped := false
	for _, r := range text {
		switch {
		case !escaped && string(r) == escape:
			escaped = true
			continue
		case !escaped && (r == '%' || r == '_'):
			if r == '%' && len(l) > 0 && l[len(l)-1].any == '%' {
				continue
			}
			l = append(l, likePart{any: r})
		default:
			l = append(l, likePart{r: r})
		}
		escaped = false
	}
	return l
}

// match takes time in proportion to the text's length times the pattern's at most.
func (l like) match(s string) bool {
	p, star, mark := 0, -1, 0 // star is where the last % was, mark what it took so far
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case p < len(l) && (l[p].any == '_' || l[p].any == 0 && l[p].r == r):
			p++
			i += n
		case p < len(l) && l[p].any == '%':
			star, mark = p, i
			p++
		case star >= 0:
			_, n := utf8.DecodeRuneInString(s[mark:])
			mark += n
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(l) && l[p].any == '%' {
		p++
	}
	return p == len(l)
}

// texts keeps each text of the rows once.
type texts struct {
	ids  map[string]uint32
	all  []string
	refs []int32
	free []uint32
}

// take returns the number of a text; 0 is null.
func (t *texts) take(v Value) uint32 {
	if v.kind == None {
		return 0
	}
	v = kept(v)
	if id, ok := t.ids[v.text]; ok {
		t.refs[id-1]++
		return id
	}
	s := strings.Clone(v.text) // not a part of what may be larger
	var id uint32
	if n := len(t.free); n > 0 {
		id, t.free = t.free[n-1], t.free[:n-1]
		t.all[id-1], t.refs[id-1] = s, 1
	} else {
		t.all, t.refs = append(t.all, s), append(t.refs, 1)
		id = uint32(len(t.all))
	}
	t.ids[s] = id
	return id
}

func (t *texts) of(id uint32) Value {
	if id == 0 {
		return Value{}
	}
	return OfText(t.all[id-1])
}

func (t *texts) leave(id uint32) {
	if id == 0 {
		return
	}
	if t.refs[id-1]--; t.refs[id-1] == 0 {
		delete(t.ids, t.all[id-1])
		t.all[id-1] = ""
		t.free = append(t.free, id)
	}
}
