package foreign_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"holdfast/remediate/forest"
	"holdfast/remediate/forest/foreign"
)

const stump = `{"format":"sk-forest/1","classes":["hot","normal"],"features":["cpu_mean"],
"trees":[{"f":[0,-2,-2],"t":[50.0,-2.0,-2.0],"l":[1,-1,-1],"r":[2,-1,-1],"v":[[],[0.25,0.75],[1.0,0.0]]}]}`

// pb writes a field with a length.
func pb(number int, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number<<3|2)), uint64(len(body))), body...)
}

func attr(name string, values ...any) []byte {
	b := pb(1, []byte(name))
	for _, v := range values {
		switch v := v.(type) {
		case int:
			b = binary.AppendUvarint(append(b, 8<<3), uint64(v))
		case float64:
			b = binary.LittleEndian.AppendUint32(append(b, 7<<3|5), math.Float32bits(float32(v)))
		case string:
			b = append(b, pb(9, []byte(v))...)
		}
	}
	return pb(5, b)
}

// onnx writes a model with the classifier's attributes, of which some are replaced.
func onnx(replace ...[]byte) []byte {
	list := [][]byte{attr("nodes_treeids", 0, 0, 0), attr("nodes_nodeids", 0, 1, 2), attr("nodes_modes", "BRANCH_LEQ", "LEAF", "LEAF"),
		attr("nodes_featureids", 0, 0, 0), attr("nodes_values", 50.0, 0.0, 0.0), attr("nodes_truenodeids", 1, 0, 0), attr("nodes_falsenodeids", 2, 0, 0),
		attr("class_treeids", 0, 0, 0), attr("class_nodeids", 1, 1, 2), attr("class_ids", 0, 1, 0), attr("class_weights", 0.25, 0.75, 1.0),
		attr("classlabels_strings", "hot", "normal"), attr("post_transform", "NONE")}
	name := func(b []byte) string {
		_, size := binary.Uvarint(b[1:])
		b = b[1+size:]
		n := int(b[1])
		return string(b[2 : 2+n])
	}
	for _, r := range replace {
		found := false
		for i := range list {
			if name(list[i]) == name(r) {
				list[i], found = r, true
			}
		}
		if !found {
			list = append(list, r)
		}
	}
	return pb(7, pb(1, append([][]byte{pb(4, []byte("TreeEnsembleClassifier"))}, list...)...))
}

func TestStumpIsReadAlikeByBothWays(t *testing.T) {
	a, err := foreign.JSON([]byte(stump))
	if err != nil {
		t.Fatal(err)
	}
	b, err := foreign.ONNX(onnx(), []string{"cpu_mean"})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*foreign.Forest{a, b} {
		d, err := f.Draft("normal")
		if err != nil {
			t.Fatal(err)
		}
		d.Window, d.Step, d.Temperature = 8, 1e9, 1
		d.Golden = []forest.Golden{{Row: []float32{50}, Shares: []float64{.25, .75}}, {Row: []float32{50.1}, Shares: []float64{1, 0}}}
		if _, err := d.Encode(); err != nil {
			t.Error(err)
		}
	}
}

func TestForestsThatAreNotUnderstoodAreRefused(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{`sk-forest/1`, `sk-forest/2`, "format"},
		{`"t":[50.0,`, `"t":[`, "arrays f, t, l, r, v"},
		{`[1.0,0.0]`, `null`, ""},
		{`["hot","normal"]`, `["hot"]`, "1 classes"},
		{`"trees"`, `"treess"`, ""},
	} {
		if _, err := foreign.JSON([]byte(strings.Replace(stump, tt.old, tt.new, 1))); !errors.Is(err, foreign.ErrForest) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("JSON with %s: %v", tt.new, err)
		}
	}
	for _, tt := range []struct {
		want    string
		replace []byte
	}{
		{"mode", attr("nodes_modes", "BRANCH_LT", "LEAF", "LEAF")},
		{"attributes of", attr("nodes_values", 1.0)},
		{"numbered from 0", attr("nodes_nodeids", 1, 2, 3)},
		{"comes after tree", attr("nodes_treeids", 1, 0, 0)},
		{"weight", attr("class_weights", -0.25, 0.75, 1.0)},
		{"weight", attr("class_ids", 0, 2, 0)},
		{"weight", attr("class_nodeids", 0, 1, 2)},
		{"weights add up", attr("class_weights", 0.25, 0.75, 2.0)},
		{"weights for", attr("class_weights", 0.25)},
		{"post_transform", attr("post_transform", "SOFTMAX")},
		{"base_values", attr("base_values", 1.0)},
		{"class_weights_as_tensor", attr("class_weights_as_tensor")},
		{"no names", attr("classlabels_strings")},
	} {
		if _, err := foreign.ONNX(onnx(tt.replace), []string{"cpu_mean"}); !errors.Is(err, foreign.ErrForest) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("want %q: %v", tt.want, err)
		}
	}
	for want, b := range map[string][]byte{
		"is this ONNX":  pb(7, pb(1, pb(4, []byte("Conv")))),
		"wire type 3":   {7<<3 | 3},
		"too early":     {7<<3 | 2, 0x80},
		"that are left": {7<<3 | 2, 0x7f, 1},
		"wants at most": make([]byte, foreign.MaxBytes+1),
		"more than one": append(onnx(), onnx()...),
	} {
		if _, err := foreign.ONNX(b, nil); !errors.Is(err, foreign.ErrForest) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	f, err := foreign.JSON([]byte(strings.Replace(stump, "cpu_mean", "cpu_median", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Draft("normal"); err == nil || !strings.Contains(err.Error(), "_mean, _std or _slope") {
		t.Error(err)
	}
	if _, err := f.Draft("fine"); err == nil || !strings.Contains(err.Error(), `no class "fine"`) {
		t.Error(err)
	}
}

func fuzz(f *testing.F, read func([]byte) (*foreign.Forest, error)) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := read(b)
		if err != nil {
			if !errors.Is(err, foreign.ErrForest) {
				t.Error(err)
			}
			return
		}
		if d, err := r.Draft(r.Classes[0]); err == nil {
			d.Window, d.Step, d.Temperature = 8, 1e9, 1
			_, _ = d.Encode()
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(stump))
	f.Add([]byte(strings.Replace(stump, `"l":[1,`, `"l":[0,`, 1)))
	f.Add([]byte(strings.Replace(stump, `[1.0,0.0]`, `[1e308,1e308]`, 1)))
	f.Add([]byte(strings.Replace(stump, `"f":[0,`, `"f":[-3,`, 1)))
	f.Add(unzip(f, "sklearn-rf40.json"))
	fuzz(f, foreign.JSON)
}

func FuzzONNX(f *testing.F) {
	f.Add(onnx())
	f.Add(onnx(attr("class_weights", math.Inf(1), -0.5, 1e30)))
	f.Add(onnx(attr("nodes_truenodeids", 0, 0, 0)))
	f.Add(append(pb(7), onnx()...))
	fuzz(f, func(b []byte) (*foreign.Forest, error) { return foreign.ONNX(b, []string{"cpu_mean"}) })
}
