package args_test

import (
	"encoding/json"
	"strings"
	"testing"

	"holdfast/cmd/holdfastctl/internal/args"
)

func TestWordsBecomeATree(t *testing.T) {
	for _, tt := range []struct{ words, want string }{
		{"", `{}`},
		{"cpu=70", `{"cpu":70}`},
		{"labels.site=north labels.floor=2 on=true", `{"labels":{"floor":2,"site":"north"},"on":true}`},
		{"v=1.50 w=-2e3 x=01 y= z=NaN", `{"v":1.50,"w":-2e3,"x":"01","y":"","z":"NaN"}`},
		{"url=http://h/?a=b", `{"url":"http://h/?a=b"}`},
		{`list:=[1,"a",null] gone:=null text:="7"`, `{"gone":null,"list":[1,"a",null],"text":"7"}`},
	} {
		list, err := args.Parse(strings.Fields(tt.words))
		if err != nil {
			t.Errorf("%s: %v", tt.words, err)
			continue
		}
		tree, err := args.Tree(list)
		if err != nil {
			t.Errorf("%s: %v", tt.words, err)
			continue
		}
		if got, _ := json.Marshal(tree); string(got) != tt.want {
			t.Errorf("%s: got %s, want %s", tt.words, got, tt.want)
		}
	}
}

func TestWordsThatSayNothingAreRefused(t *testing.T) {
	for _, words := range []string{"cpu", "=1", "a..b=1", ".a=1", "a:=", "a:={", "a:=1,2", "a=1 a=2", "a=1 a.b=2", "a.b=2 a=1"} {
		list, err := args.Parse(strings.Fields(words))
		if err == nil {
			_, err = args.Tree(list)
		}
		if err == nil {
			t.Errorf("%s: accepted", words)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a.b=1")
	f.Add(`x:={"y":[1,2]}`)
	f.Fuzz(func(t *testing.T, word string) {
		list, err := args.Parse([]string{word})
		if err != nil {
			return
		}
		tree, err := args.Tree(list)
		if err != nil {
			t.Fatalf("one word cannot contradict itself: %v", err)
		}
		if _, err := json.Marshal(tree); err != nil {
			t.Fatalf("%q: %v", word, err)
		}
	})
}
