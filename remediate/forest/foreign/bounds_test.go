package foreign_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"holdfast/remediate/forest/foreign"
)

// many repeats a text with commas between.
func many(text string, times int) string { return strings.Repeat(text+",", times-1) + text }

func TestForestsThatAreTooLargeAreRefused(t *testing.T) {
	const leaf = `{"f":[-2],"t":[-2],"l":[-1],"r":[-1],"v":[[1,0]]}`
	head := func(classes, features int, trees string) string {
		return fmt.Sprintf(`{"format":"sk-forest/1","classes":[%s],"features":[%s],"trees":[%s]}`, many(`"x"`, classes), many(`"x_mean"`, features), trees)
	}
	chain := func(nodes int) string {
		return fmt.Sprintf(`{"f":[%s],"t":[%s],"l":[%[1]s],"r":[%[1]s],"v":[%[3]s]}`, many("0", nodes), many("0", nodes), many("[]", nodes))
	}
	for _, tt := range []struct{ text, want string }{
		{head(2, 1, many(leaf, 1001)), "1001 trees: wants 1 to 1000"},
		{head(2, 1, chain(200_001)), "200001 so far: wants as many in each, at most 200000"},
		{head(2, 1, chain(150_000)+","+chain(50_001)), "tree 1: arrays"},
		{head(2, 1, `{"f":[],"t":[],"l":[],"r":[],"v":[]}`), "of 0, 0, 0, 0, 0 nodes"},
		{head(2, 1, strings.Replace(leaf, `"r":[-1]`, `"r":[]`, 1)), "arrays f, t, l, r, v"},
		{head(33, 1, leaf), "33 classes: wants 2 to 32"},
		{head(2, 513, leaf), "513 features: wants at most 512"},
		{strings.Replace(head(2, 1, leaf), `,"trees":[`+leaf+`]`, "", 1), "0 trees"},
	} {
		if _, err := foreign.JSON([]byte(tt.text)); !errors.Is(err, foreign.ErrForest) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want %q: %.200v", tt.want, err)
		}
	}
	if _, err := foreign.JSON([]byte(head(32, 512, leaf))); err != nil {
		t.Errorf("at the bounds: %v", err)
	}
}

func TestONNXThatIsTooLargeOrTwistedIsRefused(t *testing.T) {
	modes := make([]any, 200_001)
	nodes := make([]any, len(modes))
	for i := range modes {
		modes[i], nodes[i] = "LEAF", 0
	}
	packed := func(name string, number int, b ...byte) []byte { return pb(5, pb(1, []byte(name)), pb(number, b)) }
	nan := binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN())))
	one := binary.LittleEndian.AppendUint32(nil, math.Float32bits(1))
	for _, tt := range []struct {
		want    string
		replace []byte
	}{
		{"more than 200000 texts", attr("nodes_modes", modes...)},
		{"200001 nodes: wants 1 to 200000", attr("nodes_treeids", nodes...)},
		{"weight +Inf", attr("class_weights", math.Inf(1), 0.75, 1.0)},
		{"weight NaN", packed("class_weights", 7, append(append(nan, one...), one...)...)},
		{"of class -1", attr("class_ids", -1, 1, 0)},
		{"weights for 3 trees, 3 nodes, 2 classes", attr("class_ids", 0, 1)},
		{"weights for 3 trees, 2 nodes", attr("class_nodeids", 1, 1)},
		{"weights for 2 trees", attr("class_treeids", 0, 0)},
		{"attributes of 3 and of 2 nodes", attr("nodes_featureids", 0, 0)},
		{"attributes of 3 and of 1 nodes", attr("nodes_truenodeids", 0)},
		{"attributes of 3 and of 4 nodes", attr("nodes_falsenodeids", 0, 0, 0, 0)},
		{"wire type 2, 5 bytes", packed("nodes_values", 7, 1, 2, 3, 4, 5)},
		{"ends too early", packed("nodes_nodeids", 8, 0, 1, 0x82)},
		{`attribute "" comes twice, or has no name`, packed("", 8, 0)},
	} {
		if _, err := foreign.ONNX(onnx(tt.replace), []string{"cpu_mean"}); !errors.Is(err, foreign.ErrForest) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want %q: %.200v", tt.want, err)
		}
	}
	model := func(node ...[]byte) []byte {
		return pb(7, pb(1, append([][]byte{pb(4, []byte("TreeEnsembleClassifier"))}, node...)...))
	}
	for want, b := range map[string][]byte{
		`"nodes_modes" comes twice`: model(attr("nodes_modes", "LEAF"), attr("nodes_modes", "LEAF")),
		"0 nodes: wants 1":          model(attr("classlabels_strings", "a", "b")),
		"the number 0":              {0<<3 | 2, 0},
		"1 classes":                 onnx(attr("classlabels_strings", "hot"), attr("class_ids", 0, 0, 0)),
	} {
		if _, err := foreign.ONNX(b, nil); !errors.Is(err, foreign.ErrForest) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// What a newer ONNX adds is passed over, and weights of one place come together.
func TestONNXIsReadPastWhatIsUnknown(t *testing.T) {
	unknown := append(binary.LittleEndian.AppendUint64([]byte{60<<3&0x7f | 0x80 | 1, 60 >> 4}, math.MaxUint64), 61<<3&0x7f|0x80|5, 61>>4, 1, 2, 3, 4)
	unknown = append(unknown, 62<<3&0x7f|0x80, 62>>4, 0xff, 1)
	b := append(unknown, onnx(attr("class_treeids", 0, 0, 0, 0), attr("class_nodeids", 1, 1, 2, 2), attr("class_ids", 0, 1, 0, 0), attr("class_weights", 0.25, 0.75, 0.5, 0.5))...)
	f, err := foreign.ONNX(b, []string{"cpu_mean"})
	if err != nil {
		t.Fatal(err)
	}
	if s := f.Trees[0][2].Shares; s[0] != 1 || s[1] != 0 {
		t.Errorf("shares %v: wants [1 0]", s)
	}
	packed := pb(5, pb(1, []byte("nodes_nodeids")), pb(8, []byte{0, 1, 2}))
	if _, err := foreign.ONNX(onnx(packed), []string{"cpu_mean"}); err != nil {
		t.Errorf("packed: %v", err)
	}
}
