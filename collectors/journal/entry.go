package journal

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// An Entry is one line of the journal. Its texts are valid UTF-8 without control characters other than line feed and tab,
// so that nobody can play with the terminal of who reads them.
type Entry struct {
	Time       time.Time `json:"time"` // when it was written, by the wall clock of then
	Unit       string    `json:"unit,omitempty"`
	Identifier string    `json:"identifier,omitempty"`
	PID        int       `json:"pid,omitempty"`
	Priority   int       `json:"priority"` // 0 (emergency) to 7 (debug); 6 where the writer gave none
	Message    string    `json:"message"`
	Truncated  bool      `json:"truncated,omitempty"` // the message was longer than the limit, or too large for journalctl
	Cursor     string    `json:"-"`                   // empty where it could not be handed back to journalctl
}

const (
	lineBytes   = 64 << 10 // journalctl leaves out fields of more than 4 KiB; one byte of those takes up to 4 as a number
	nameBytes   = 256      // of a unit or an identifier
	cursorBytes = 256
	mostDepth   = 8
)

// outputFields are what journalctl is asked for, beside cursor and times, which it always gives.
const outputFields = "MESSAGE,PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_PID"

// Parse reads one line of journalctl's JSON, at most limitBytes of its message. A field may be a text, null where it was
// too large, an array of bytes where it is not UTF-8, or an array of such values where it was given more than once: then
// the first counts, and so does the first of equal keys (systemd.journal-fields(7), journalctl(1)).
func Parse(line []byte, limitBytes int) (Entry, error) {
	s := scanner{b: line}
	e := Entry{Priority: -1}
	var seen uint8
	var inner string // UNIT: the unit that systemd itself writes about
	err := s.object(func(key []byte) error {
		bit, limit := uint8(0), nameBytes
		switch string(key) {
		case "MESSAGE":
			bit, limit = 1, limitBytes
		case "PRIORITY":
			bit = 2
		case "_SYSTEMD_UNIT":
			bit = 4
		case "UNIT":
			bit = 8
		case "SYSLOG_IDENTIFIER":
			bit = 16
		case "_PID":
			bit = 32
		case "__CURSOR":
			bit = 64
		case "__REALTIME_TIMESTAMP":
			bit = 128
		}
		if bit == 0 || seen&bit != 0 {
			return s.skip(1)
		}
		seen |= bit
		text, whole, err := s.text(limit, 1)
		if err != nil {
			return err
		}
		switch bit {
		case 1:
			e.Message, e.Truncated = text, !whole
		case 2:
			if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 7 {
				e.Priority = n
			}
		case 4:
			e.Unit = text
		case 8:
			inner = text
		case 16:
			e.Identifier = text
		case 32:
			if n, err := strconv.ParseInt(text, 10, 32); err == nil && n > 0 {
				e.PID = int(n)
			}
		case 64:
			if checkCursor(text) == nil && whole {
				e.Cursor = text
			}
		case 128:
			if us, err := strconv.ParseInt(text, 10, 64); err == nil && us >= 0 && us < 253402300800_000000 { // year 10000
				e.Time = time.UnixMicro(us).UTC()
			}
		}
		return nil
	})
	if err != nil {
		return Entry{}, fmt.Errorf("journal line: %w", err)
	}
	if e.PID == 1 && inner != "" { // anybody can write UNIT, but only the kernel writes _PID
		e.Unit = inner
	}
	if e.Priority < 0 {
		e.Priority = 6
	}
	return e, nil
}

// checkCursor returns an error unless c looks like a cursor, as sd_journal_get_cursor(3) makes them: it is stored, and
// handed to journalctl.
func checkCursor(c string) error {
	if c == "" || len(c) > cursorBytes || strings.Trim(c, "0123456789abcdefghijklmnopqrstuvwxyz=;") != "" {
		return fmt.Errorf("journal cursor %.40q: not one", c)
	}
	return nil
}

var (
	errJSON = errors.New("not a JSON object")
	errDeep = errors.New("nested too deep")
)

// A scanner reads JSON in place. It is as strict as it must be to find the ends of things, and no more.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\r' || s.b[s.i] == '\n') {
		s.i++
	}
}

// next returns the byte that comes after white space, 0 at the end.
func (s *scanner) next() byte {
	s.space()
	if s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// eat takes c.
func (s *scanner) eat(c byte) error {
	if s.next() != c {
		return fmt.Errorf("%w: no %q at byte %d", errJSON, c, s.i)
	}
	s.i++
	return nil
}

// object reads a whole line; value is called where a value begins, and takes it.
func (s *scanner) object(value func(key []byte) error) error {
	if err := s.eat('{'); err != nil {
		return err
	}
	err := s.list('}', func() error {
		key, err := s.quoted()
		if err != nil {
			return err
		}
		if err := s.eat(':'); err != nil {
			return err
		}
		return value(key)
	})
	if err == nil && s.next() != 0 {
		return fmt.Errorf("%w: more after it", errJSON)
	}
	if err == nil && s.i < len(s.b) {
		return fmt.Errorf("%w: a zero byte after it", errJSON)
	}
	return err
}

// list reads items up to the closing byte.
func (s *scanner) list(closing byte, item func() error) error {
	if s.next() == closing {
		s.i++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if s.next() == closing {
			s.i++
			return nil
		}
		if err := s.eat(','); err != nil {
			return err
		}
	}
}

// quoted takes a string and returns what is between its quotes.
func (s *scanner) quoted() ([]byte, error) {
	if err := s.eat('"'); err != nil {
		return nil, err
	}
	start := s.i
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start : s.i-1], nil
		case c == '\\':
			s.i++
		case c < ' ':
			return nil, fmt.Errorf("%w: control character at byte %d", errJSON, s.i)
		}
	}
	return nil, fmt.Errorf("%w: a string without an end", errJSON)
}

// bare takes a number or a literal.
func (s *scanner) bare() ([]byte, error) {
	s.space()
	start := s.i
	for s.i < len(s.b) && (s.b[s.i] >= '0' && s.b[s.i] <= '9' || s.b[s.i] >= 'a' && s.b[s.i] <= 'z' || bytes.IndexByte([]byte("+-.E"), s.b[s.i]) >= 0) {
		s.i++
	}
	if s.i == start {
		return nil, fmt.Errorf("%w: no value at byte %d", errJSON, s.i)
	}
	return s.b[start:s.i], nil
}

// skip takes a value that nobody wants.
func (s *scanner) skip(depth int) error {
	if depth > mostDepth {
		return errDeep
	}
	switch s.next() {
	case '"':
		_, err := s.quoted()
		return err
	case '[':
		s.i++
		return s.list(']', func() error { return s.skip(depth + 1) })
	case '{':
		s.i++
		return s.list('}', func() error {
			if _, err := s.quoted(); err != nil {
				return err
			}
			if err := s.eat(':'); err != nil {
				return err
			}
			return s.skip(depth + 1)
		})
	}
	_, err := s.bare()
	return err
}

// text takes a value as text, at most limit bytes of it. whole is false where something is missing.
func (s *scanner) text(limit, depth int) (text string, whole bool, err error) {
	if depth > mostDepth {
		return "", false, errDeep
	}
	switch s.next() {
	case '"':
		raw, err := s.quoted()
		if err != nil {
			return "", false, err
		}
		return clean(raw, limit)
	case '[':
		s.i++
		return s.array(limit, depth)
	case '{':
		return "", false, s.skip(depth)
	}
	raw, err := s.bare()
	if err != nil || string(raw) == "null" {
		return "", false, err
	}
	return clean(raw, limit)
}

// array takes the rest of an array: bytes, or values of which the first counts.
func (s *scanner) array(limit, depth int) (text string, whole bool, err error) {
	var buf []byte
	whole = true
	first := true
	isBytes := false
	err = s.list(']', func() error {
		c := s.next()
		if first {
			first = false
			if isBytes = c >= '0' && c <= '9'; !isBytes {
				text, whole, err = s.text(limit, depth+1)
				return err
			}
		} else if !isBytes {
			return s.skip(depth + 1)
		}
		if c < '0' || c > '9' {
			return s.skip(depth + 1)
		}
		raw, err := s.bare()
		if err != nil {
			return err
		}
		if n, err := strconv.ParseUint(string(raw), 10, 8); err == nil && len(buf) <= limit {
			buf = append(buf, byte(n))
		}
		return nil
	})
	if err != nil || !isBytes {
		return text, whole, err
	}
	t, whole := printable(buf, limit)
	return t, whole, nil
}

// clean resolves the escapes of a JSON string.
func clean(raw []byte, limit int) (text string, whole bool, err error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		text, whole = printable(raw, limit)
		return text, whole, nil
	}
	out := make([]byte, 0, min(len(raw), limit+8))
	for len(raw) > 0 && len(out) <= limit {
		if raw[0] != '\\' {
			out, raw = append(out, raw[0]), raw[1:]
			continue
		}
		r, n := unescape(raw)
		if n == 0 {
			return "", false, fmt.Errorf("%w: escape %.6q", errJSON, raw)
		}
		out, raw = utf8.AppendRune(out, r), raw[n:]
	}
	text, whole = printable(out, limit)
	return text, whole && len(raw) == 0, nil
}

// unescape reads the escape that raw begins with; n is its length, 0 where it is none.
func unescape(raw []byte) (r rune, n int) {
	if len(raw) < 2 {
		return 0, 0
	}
	if i := strings.IndexByte(`"\/bfnrt`, raw[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2
	}
	r, ok := hex4(raw)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hex4(raw[6:]); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return r, 6
}

// hex4 reads \uXXXX.
func hex4(raw []byte) (r rune, ok bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(n), err == nil
}

// printable makes text of bytes: at most limit bytes, without control characters other than line feed and tab.
func printable(b []byte, limit int) (text string, whole bool) {
	var out strings.Builder
	out.Grow(min(len(b), limit))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			continue
		}
		if out.Len()+utf8.RuneLen(r) > limit {
			return out.String(), false
		}
		out.WriteRune(r)
	}
	return out.String(), true
}
