package epl_test

import (
	"strings"
	"testing"

	"holdfast/remediate/epl"
)

func TestFormatMakesTheCanonicalForm(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"clauses", "SELECT  deviceId , avg( cpu )  as a FROM D( cpu>90 ).win:time( 1 min ) GROUP BY deviceId HAVING avg(cpu)>  5 ORDER BY a DESC",
			"select deviceId, avg( cpu ) as a\nfrom D(cpu > 90).win:time(1 min)\ngroup by deviceId\nhaving avg(cpu) > 5\norder by a DESC\n"},
		{"annotations", "@name( 'hot' ) @severity('critical') insert into X select a.id as id from pattern[every a=D(id = 'x',cpu>=-1)];\n\n\n select * from X ;",
			"@name('hot')\n@severity('critical')\ninsert into X\nselect a.id as id\nfrom pattern [every a=D(id = 'x', cpu >= -1)];\n\nselect *\nfrom X;\n"},
		{"patterns", "select * from pattern [ every-distinct( a.id , 1 hour ) a = D -> ([2] b=D until timer : interval( 10 sec )) and not D(x-1 = 2) where timer:within(5 sec) -[ 3 ] > c=D while (c.x > - 1)]",
			"select *\nfrom pattern [every-distinct(a.id, 1 hour) a=D -> ([2] b=D until timer:interval(10 sec)) and not D(x - 1 = 2) where timer:within(5 sec) -[3]> c=D while (c.x > -1)]\n"},
		{"line ends of the author", "select *\nfrom pattern [\nevery a=D(cpu > 90)\n->\n  b=D\n]", "select *\nfrom pattern [\n    every a=D(cpu > 90)\n    ->\n    b=D\n]\n"},
		{"comments", "// first\n\n/* second */ select * // the rest\nfrom D // of it\n// last\n;// end\n", "// first\n\n/* second */\nselect * // the rest\nfrom D // of it\n    // last\n    ; // end\n"},
		{"a column is called what is written", "select a+1,  b  as  C, (a-  /* x */ 2) from D", "select a+1, b as C, (a-  /* x */ 2)\nfrom D\n"},
		{"words in such a name", "select cpu > 1  AND cpu < 2, cpu > 1 AND cpu < 2 as b from D", "select cpu > 1  AND cpu < 2, cpu > 1 AND cpu < 2 as b\nfrom D\n"},
		{"empty lines", "\n\nselect *\n\n\nfrom D\n\n\n;\n\n\n\nselect *\nfrom E", "select *\nfrom D;\n\nselect *\nfrom E\n"},
		{"words that are names", "select a.ORDER as WHERE from D as a", "select a.ORDER as WHERE\nfrom D as a\n"},
		{"ranges", "select * from D(x in[1 : 5), y not in(-1:2 ])", "select *\nfrom D(x in [1:5), y not in (-1:2])\n"},
		{"nothing", " \n", ""},
		{"only a comment", " // x \n", "// x\n"},
	} {
		got, err := epl.Format("x", tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: %v\ngot  %q\nwant %q", tt.name, err, got, tt.want)
		}
		if again, err := epl.Format("x", got); err != nil || again != got {
			t.Errorf("%s: a second time: %v\ngot  %q\nwant %q", tt.name, err, again, got)
		}
	}
}

func TestFormatSaysWhatIsWrong(t *testing.T) {
	_, err := epl.Format("f.epl", "select *\nfrm D")
	if e, ok := err.(*epl.Error); !ok || e.Line != 2 || !strings.HasPrefix(e.Error(), "f.epl:2:1: ") {
		t.Errorf("%v", err)
	}
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{
		"select * from D", "@name('x') select a.b, - 1 - -2 as c from pattern [every a=D(x = 1 or y in (1, 2)) -[2]> (b=D and not E)]; // x",
		"select /* a */ x /* b */ + 1 /* c */ , y // d\nfrom D#time(1 min) // e\ngroup by y\n\n// f\n;\n\n\n// g\nselect * from E",
		"insert into X select rstream case when a then 1 else 2 end as c from D(a like '%x' escape '!') output snapshot every 5 sec",
		"select b[0].x from pattern [[2:3] b=D until timer:at(*/5, [1,2], *, *, *)]",
		"select istream // x\n a from D",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		before, err := epl.Parse("x", text)
		if err != nil {
			return
		}
		once, err := epl.Format("x", text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		after, err := epl.Parse("x", once)
		if err != nil || len(after) != len(before) {
			t.Fatalf("%q became %q: %v", text, once, err)
		}
		if twice, err := epl.Format("x", once); err != nil || twice != once {
			t.Fatalf("%q, then %q: %v", once, twice, err)
		}
	})
}
