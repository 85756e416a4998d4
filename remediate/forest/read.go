package forest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrModel is what all errors of Read are. ErrBounds are those that a smaller model would not have.
var (
	ErrModel  = errors.New("model")
	ErrBounds = errors.New("out of bounds")
)

// The layout of docs/model-format.md.
const (
	magic       = "HFOREST1"
	headBytes   = 52
	featBytes   = 16
	nodeBytes   = 8
	hashBytes   = sha256.Size
	longestName = 64
)

// The bounds of the numbers in the head.
const (
	maxTrees     = MaxVisits
	maxStep      = uint32(24 * time.Hour / time.Millisecond)
	lowestTemp   = 0.05
	highestTemp  = 20
	widestMargin = 1000
)

// reader takes a model apart. Once it has an error it returns zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(format string, a ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrModel}, a...)...)
	}
}

var nothing [headBytes]byte

// take returns the next n bytes; what calls it knows that n is small.
func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail("ends too early")
	}
	if r.err != nil {
		return nothing[:n]
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u16() int    { return int(binary.LittleEndian.Uint16(r.take(2))) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }

// float reads a finite number from low to high.
func (r *reader) float(what string, low, high float32) float32 {
	f := math.Float32frombits(r.u32())
	if r.err == nil && !(f >= low && f <= high) {
		r.fail("%s %g: wants %g to %g", what, f, low, high)
	}
	return f
}

// count reads a number from low to high.
func (r *reader) count(what string, low, high int) int {
	n := r.u16()
	if r.err == nil && (n < low || n > high) {
		r.fail("%d %s: wants %d to %d", n, what, low, high)
	}
	return n
}

// Read returns the model that b holds, all of which it has looked at, or says what is wrong with it. Nothing of b is kept.
func Read(b []byte) (*Model, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: %w: %d bytes: wants at most %d", ErrModel, ErrBounds, len(b), MaxBytes)
	}
	if len(b) < headBytes+hashBytes || string(b[:8]) != magic {
		return nil, fmt.Errorf("%w: does not begin with %s and a head", ErrModel, magic)
	}
	body := b[:len(b)-hashBytes]
	m := &Model{id: sha256.Sum256(body), bytes: len(b)}
	if !bytes.Equal(m.id[:], b[len(body):]) {
		return nil, fmt.Errorf("%w: its SHA-256 does not match: damaged", ErrModel)
	}
	r := &reader{rest: body[8:]}
	if n := r.u32(); int64(n) != int64(len(b)) {
		r.fail("%d bytes, and says %d", len(b), n)
	}
	trees, leaves, golden, nodes := r.head(m)
	for i := range m.Classes {
		m.Classes[i] = r.name("class", m.Classes[:i])
	}
	for i := range m.Metrics {
		m.Metrics[i] = r.name("metric", m.Metrics[:i])
	}
	r.features(m)
	sizes := r.sizes(trees, nodes)
	r.nodes(m, sizes, leaves, nodes)
	r.leaves(m, leaves)
	r.golden(m, golden)
	if r.err == nil && len(r.rest) != 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// head reads the numbers at the front, and makes room for the names and features, the bounds of which are checked.
func (r *reader) head(m *Model) (trees, leaves, golden, nodes int) {
	m.Window = r.count("rows of a window", 2, MaxWindow)
	classes := r.count("classes", 2, MaxClasses)
	m.Normal = r.count("as the normal class", 0, max(classes-1, 0))
	metrics := r.count("metrics", 1, MaxMetrics)
	features := r.count("features", 1, min(MaxFeatures, 3*metrics))
	trees = r.count("trees", 1, maxTrees)
	leaves = r.count("leaves", 1, math.MaxUint16)
	golden = r.count("golden rows", 1, MaxGolden)
	n := r.u32()
	if r.err == nil && (int64(n) < int64(trees) || n > MaxBytes/nodeBytes) {
		r.fail("%d nodes: wants %d to %d", n, trees, MaxBytes/nodeBytes)
	}
	step := r.u32()
	if r.err == nil && (step == 0 || step > maxStep) {
		r.fail("%d ms between rows: wants 1 to %d", step, maxStep)
	}
	m.Step = time.Duration(step) * time.Millisecond
	m.Temperature = r.float("temperature", lowestTemp, highestTemp)
	m.Sure = r.float("least confidence", 0, 1)
	m.Margin = r.float("margin", 0, widestMargin)
	m.Prior = r.float("prior of normal", 1, MaxPrior)
	if r.err == nil {
		m.Classes, m.Metrics, m.Features = make([]string, classes), make([]string, metrics), make([]Feature, features)
	}
	return trees, leaves, golden, int(n)
}

// name reads a name that is none of those before: printable ASCII without blanks, commas and quotes.
func (r *reader) name(what string, before []string) string {
	n := int(r.take(1)[0])
	if r.err == nil && (n < 1 || n > longestName) {
		r.fail("%s name of %d bytes: wants 1 to %d", what, n, longestName)
	}
	if r.err != nil || n > len(r.rest) {
		r.fail("ends too early")
		return ""
	}
	s := string(r.take(n))
	if err := CheckName(s); err != nil {
		r.fail("%s %w", what, err)
	}
	for _, b := range before {
		if b == s {
			r.fail("%s %s comes twice", what, s)
		}
	}
	return s
}

// CheckName says what is wrong with the name of a class or metric: it is 1 to 64 printable ASCII characters that are no blank,
// comma or quote.
func CheckName(s string) error {
	if len(s) < 1 || len(s) > longestName {
		return fmt.Errorf("name of %d bytes: wants 1 to %d", len(s), longestName)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == ',' || c == '"' {
			return fmt.Errorf("name %q: has a byte that is not printable ASCII, or a blank, comma or quote", s)
		}
	}
	return nil
}

func (r *reader) features(m *Model) {
	var seen [MaxMetrics]uint8 // a bit for each statistic
	const most = math.MaxFloat32
	for i := range m.Features {
		f := &m.Features[i]
		f.Metric = r.u16()
		kind := r.u16()
		f.Median, f.Low, f.High = r.float("median", -most, most), r.float("low", -most, most), r.float("high", -most, most)
		switch {
		case r.err != nil:
			return
		case f.Metric >= len(m.Metrics):
			r.fail("feature %d: metric %d of %d", i, f.Metric, len(m.Metrics))
			return
		case kind >= len(stats):
			r.fail("feature %d: statistic %d of %d", i, kind, len(stats))
			return
		case f.Low > f.High:
			r.fail("feature %d: range from %g to %g", i, f.Low, f.High)
		case seen[f.Metric]&(1<<kind) != 0:
			r.fail("feature %d: comes twice", i)
		}
		f.Stat = Stat(kind)
		seen[f.Metric] |= 1 << kind
	}
	for i, name := range m.Metrics {
		if r.err == nil && seen[i] == 0 {
			r.fail("metric %s has no feature", name)
		}
	}
}

// leaves reads how the leaves vote.
func (r *reader) leaves(m *Model, leaves int) {
	shares := r.sharing("leaf", leaves, len(m.Classes))
	for i, share := range shares {
		if i%len(m.Classes) == 0 {
			m.leaves = append(m.leaves, int32(len(m.votes)))
		}
		if share > 0 {
			m.votes = append(m.votes, vote{uint16(i % len(m.Classes)), share})
		}
	}
	m.leaves = append(m.leaves, int32(len(m.votes)))
	m.powers = make([]float32, powerSteps+1)
	for i := range m.powers {
		m.powers[i] = float32(Power(float64(i)/powerSteps, float64(m.Temperature)))
	}
}

// golden reads rows of features and what is expected of them.
func (r *reader) golden(m *Model, rows int) {
	if need := rows * (4*len(m.Features) + 2*len(m.Classes)); r.err == nil && need > len(r.rest) {
		r.fail("ends too early")
	}
	if r.err != nil {
		return
	}
	m.golden = make([]float32, rows*len(m.Features))
	for i := range m.golden {
		m.golden[i] = r.float("golden value", -math.MaxFloat32, math.MaxFloat32)
	}
	m.expect = r.sharing("golden row", rows, len(m.Classes))
}

// sharing reads rows of shares, each of which has to add up to a whole, less what rounding takes.
func (r *reader) sharing(what string, rows, classes int) []uint16 {
	if r.err == nil && 2*rows*classes > len(r.rest) {
		r.fail("ends too early")
	}
	if r.err != nil {
		return nil
	}
	shares := make([]uint16, rows*classes)
	for row := range rows {
		sum := 0
		for c := range classes {
			n := r.u16()
			shares[row*classes+c] = uint16(n)
			sum += n
		}
		if sum < whole-classes || sum > whole+classes {
			r.fail("%s %d: its shares add up to %d and not %d", what, row, sum, whole)
			return nil
		}
	}
	return shares
}
