package nbd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"holdfast/cmd/internal/nbd"
)

const fua = 1

// errRefused is an answer with an error number.
var errRefused = errors.New("refused")

// A client is one of our own, written from the protocol document apart from the server.
type client struct {
	conn   net.Conn
	ended  chan error // what Converse returned
	cookie uint64
}

func connect(t testing.TB, exports map[string]*nbd.Medium) *client {
	t.Helper()
	here, there := net.Pipe()
	c := &client{conn: here, ended: make(chan error, 1)}
	go func() {
		defer close(c.ended)
		defer there.Close()
		c.ended <- (&nbd.Server{Exports: exports}).Converse(there)
	}()
	t.Cleanup(func() {
		here.Close()
		for range c.ended { // until it has returned
		}
	})
	_ = here.SetDeadline(time.Now().Add(time.Minute)) // a test that would hang ends
	hello := make([]byte, 18)
	if _, err := io.ReadFull(here, hello); err != nil || string(hello[:16]) != "NBDMAGICIHAVEOPT" || hello[17] != 3 {
		t.Fatalf("it begins with %q, %v", hello, err)
	}
	return c
}

func big(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if s, ok := v.(string); ok {
			v = []byte(s)
		}
		if err := binary.Write(&b, binary.BigEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

func (c *client) say(t testing.TB, values ...any) {
	t.Helper()
	if _, err := c.conn.Write(big(values...)); err != nil {
		t.Fatal(err)
	}
}

// hear reads an answer to an option.
func (c *client) hear(t testing.TB) (option, kind uint32, data []byte) {
	t.Helper()
	head := make([]byte, 20)
	if _, err := io.ReadFull(c.conn, head); err != nil {
		t.Fatal(err)
	}
	if m := binary.BigEndian.Uint64(head); m != 0x3e889045565a9 {
		t.Fatalf("answer with magic %#x", m)
	}
	data = make([]byte, binary.BigEndian.Uint32(head[16:]))
	if _, err := io.ReadFull(c.conn, data); err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:]), data
}

func choice(name string, infos ...uint16) []byte {
	return big(uint32(len(name)), name, uint16(len(infos)), infos)
}

// choose negotiates with NBD_OPT_GO.
func (c *client) choose(t testing.TB, name string) {
	t.Helper()
	data := choice(name)
	c.say(t, uint32(3), "IHAVEOPT", uint32(7), uint32(len(data)), data)
	for {
		switch _, kind, data := c.hear(t); kind {
		case 1:
			return
		case 3:
		default:
			t.Fatalf("answer %#x to go: %q", kind, data)
		}
	}
}

// do asks for sectors.
func (c *client) do(cmd nbd.Command, flags uint16, at, sectors int, p []byte) ([]byte, error) {
	c.cookie++
	length := sectors * sector
	if p != nil {
		length = len(p)
	}
	ask := big(uint32(0x25609513), flags, uint16(cmd), c.cookie, uint64(at*sector), uint32(length), p)
	if _, err := c.conn.Write(ask); err != nil {
		return nil, err
	}
	head := make([]byte, 16)
	if _, err := io.ReadFull(c.conn, head); err != nil {
		return nil, err
	}
	if binary.BigEndian.Uint32(head) != 0x67446698 || binary.BigEndian.Uint64(head[8:]) != c.cookie {
		return nil, fmt.Errorf("reply %x", head)
	}
	if n := binary.BigEndian.Uint32(head[4:]); n != 0 {
		return nil, fmt.Errorf("%w: %d", errRefused, n)
	}
	if cmd != nbd.Read {
		return nil, nil
	}
	got := make([]byte, length)
	_, err := io.ReadFull(c.conn, got)
	return got, err
}

func (c *client) must(t testing.TB, cmd nbd.Command, flags uint16, at, sectors int, p []byte) []byte {
	t.Helper()
	got, err := c.do(cmd, flags, at, sectors, p)
	if err != nil {
		t.Fatalf("%s at %d: %v", cmd, at, err)
	}
	return got
}

func exports(t testing.TB) map[string]*nbd.Medium {
	t.Helper()
	supply := nbd.NewSupply()
	all := map[string]*nbd.Medium{}
	for _, o := range []nbd.MediumOptions{{Name: "disk"}, {Name: "stick", ReadOnly: true}} {
		o.Image, o.Bytes = make(file, 1<<20), 1<<20
		m, err := nbd.NewMedium(supply, o)
		if err != nil {
			t.Fatal(err)
		}
		all[o.Name] = m
	}
	return all
}

func TestTheNegotiation(t *testing.T) {
	c := connect(t, exports(t))
	option := func(kind uint32, data []byte) []byte { return big("IHAVEOPT", kind, uint32(len(data)), data) }
	c.say(t, uint32(3))
	for _, tt := range []struct {
		name string
		say  []byte
		want string // kinds of answers and what they carry
	}{
		{"structured replies", option(8, nil), "80000001"},
		{"TLS", option(5, nil), "80000001"},
		{"list", option(3, nil), "2 \x00\x00\x00\x04disk,2 \x00\x00\x00\x05stick,1"},
		{"list with data", option(3, []byte("x")), "80000003"},
		{"info of nothing", option(6, choice("none")), "80000006"},
		{"info without its end", option(6, choice("disk", 3)[:9]), "80000003"},
		{"info with more kinds than it says", option(6, append(choice("disk"), 0)), "80000003"},
		{"info with a name beyond its end", option(6, big(uint32(1<<31), "disk", uint16(0))), "80000003"},
		{"info without anything", option(6, nil), "80000003"},
		{"info", option(6, choice("disk")), "3 \x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x6d,1"},
		{"info of what is only read", option(6, choice("stick")), "3 \x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x03,1"},
		{"info of blocks", option(6, choice("disk", 3)),
			"3 \x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x6d,3 \x00\x03\x00\x00\x02\x00\x00\x00\x10\x00\x02\x00\x00\x00,1"},
		{"an option that is too long", option(6, make([]byte, 5000)), "80000009"},
	} {
		go c.conn.Write(tt.say) // a pipe has no room: what is too long is answered when it was read
		var got []string
		for {
			_, kind, data := c.hear(t)
			got = append(got, strings.TrimSpace(fmt.Sprintf("%x %s", kind, data)))
			if kind == 1 || kind >= 1<<31 {
				break
			}
		}
		want := strings.Split(tt.want, ",")
		for i := range want {
			want[i] = strings.TrimSpace(want[i])
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
	}
	c.say(t, option(2, nil))
	if _, kind, _ := c.hear(t); kind != 1 {
		t.Errorf("abort: %#x", kind)
	}
	if err := <-c.ended; err != nil {
		t.Errorf("abort ends with %v", err)
	}
}

func TestTheOldWayToChoose(t *testing.T) {
	for _, tt := range []struct {
		flags uint32
		bytes int
	}{{1, 134}, {3, 10}} {
		c := connect(t, exports(t))
		c.say(t, tt.flags, "IHAVEOPT", uint32(1), uint32(4), "disk")
		got := make([]byte, tt.bytes)
		if _, err := io.ReadFull(c.conn, got); err != nil || !bytes.HasPrefix(got, big(uint64(1<<20), uint16(0x6d))) {
			t.Errorf("flags %d: %x, %v", tt.flags, got, err)
		}
		c.must(t, nbd.Write, 0, 1, 0, mark(1, 1))
		if got := c.must(t, nbd.Read, 0, 1, 1, nil); !bytes.Equal(got, mark(1, 1)) {
			t.Errorf("flags %d: read %q", tt.flags, got)
		}
	}
}

func TestWhatIsNotTheProtocolEndsTheConversation(t *testing.T) {
	for name, say := range map[string][]byte{
		"client's flags":               big(uint32(8)),
		"option's magic":               big(uint32(3), "IHAVEOPS", uint32(3), uint32(0)),
		"option without end":           big(uint32(3), "IHAVEOPT", uint32(6), uint32(1<<30)),
		"old way to nothing":           big(uint32(3), "IHAVEOPT", uint32(1), uint32(4), "none"),
		"request's magic":              big(uint32(3), "IHAVEOPT", uint32(1), uint32(4), "disk", make([]byte, 28)),
		"a write that is far too long": big(uint32(3), "IHAVEOPT", uint32(1), uint32(4), "disk", uint32(0x25609513), uint16(0), uint16(1), uint64(0), uint64(0), uint32(33<<20)),
		"options without end":          append(big(uint32(3)), bytes.Repeat(big("IHAVEOPT", uint32(8), uint32(0)), 65)...),
	} {
		c := connect(t, exports(t))
		go io.Copy(io.Discard, c.conn)
		go c.conn.Write(say)
		if err := <-c.ended; err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWhatCannotBeDoneIsRefused(t *testing.T) {
	all := exports(t)
	for _, tt := range []struct {
		export  string
		cmd     nbd.Command
		flags   uint16
		at, len int
		want    string
	}{
		{"disk", nbd.Read, 0, 2047, 2, "22"},
		{"disk", nbd.Write, 0, 2047, 2, "28"},
		{"disk", nbd.Write, 2, 0, 1, "22"},
		{"disk", nbd.Trim, 0, 2048, 1, "28"},
		{"disk", nbd.WriteZeroes, 0, 2000, 100, "28"},
		{"disk", nbd.Read, 8, 0, 1, "22"},
		{"disk", nbd.Flush, 1, 0, 0, "22"},
		{"disk", nbd.Command(5), 0, 0, 1, "95"},
		{"disk", nbd.Command(7), 0, 0, 1, "95"},
		{"stick", nbd.Write, 0, 0, 1, "1"},
		{"stick", nbd.Trim, 0, 0, 1, "1"},
	} {
		c := connect(t, all)
		c.choose(t, tt.export)
		var p []byte
		if tt.cmd == nbd.Write {
			p = make([]byte, tt.len*sector)
		}
		if _, err := c.do(tt.cmd, tt.flags, tt.at, tt.len, p); !errors.Is(err, errRefused) || !strings.HasSuffix(err.Error(), ": "+tt.want) {
			t.Errorf("%s on %s of %d at %d: %v, want %s", tt.cmd, tt.export, tt.len, tt.at, err, tt.want)
		}
		if _, err := c.do(nbd.Read, 0, 0, 1, nil); err != nil { // it goes on
			t.Errorf("%s: then %v", tt.cmd, err)
		}
	}
}

// FuzzConverse has a client say anything after a negotiation, and before it.
func FuzzConverse(f *testing.F) {
	begin := big(uint32(3), "IHAVEOPT", uint32(7), uint32(10), choice("disk"))
	f.Add(begin, big(uint32(0x25609513), uint16(1), uint16(1), uint64(7), uint64(512), uint32(512), mark(1, 1)))
	f.Add(begin, big(uint32(0x25609513), uint16(0), uint16(0), uint64(7), uint64(0), uint32(1024), uint32(0x25609513), uint16(0), uint16(2), uint64(8), uint64(0), uint32(0)))
	f.Add(begin, big(uint32(0x25609513), uint16(0), uint16(4), uint64(7), uint64(512), uint32(4096), uint32(0x25609513), uint16(0), uint16(6), uint64(8), uint64(0), uint32(512)))
	f.Add(big(uint32(1), "IHAVEOPT", uint32(3), uint32(0)), big("IHAVEOPT", uint32(6), uint32(12), choice("stick", 3)))
	f.Fuzz(func(t *testing.T, begin, more []byte) {
		all := exports(t)
		var out bytes.Buffer
		_ = (&nbd.Server{Exports: all}).Converse(struct {
			io.Reader
			io.Writer
		}{io.MultiReader(bytes.NewReader(begin), bytes.NewReader(more)), &out})
		if !bytes.HasPrefix(out.Bytes(), []byte("NBDMAGICIHAVEOPT")) {
			t.Errorf("it begins with %.16q", out.Bytes())
		}
		if most := 18 + 64*1024 + 40*(len(begin)+len(more)) + (1<<20)*(1+len(more)/28); out.Len() > most {
			t.Errorf("%d bytes were answered to %d", out.Len(), len(begin)+len(more))
		}
	})
}
