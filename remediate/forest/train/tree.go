package train

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"holdfast/remediate/forest"
)

// chance draws numbers. The methods of rand.Rand may change between versions of Go; the generator does not.
type chance struct{ *rand.PCG }

// below returns one of 0 to n-1.
func (c chance) below(n int) int {
	high, _ := bits.Mul64(c.Uint64(), uint64(n))
	return int(high)
}

// unit returns a number from 0 to 1.
func (c chance) unit() float64 { return float64(c.Uint64()>>11) / (1 << 53) }

// normal returns a number of the standard normal distribution (Box and Muller 1958).
func (c chance) normal() float64 {
	r := math.Sqrt(-2 * math.Log(1-c.unit()))
	return r * math.Cos(2*math.Pi*c.unit())
}

// grower grows a tree: CART with Gini's impurity (Breiman et al. 1984), of a random forest (Breiman 2001).
type grower struct {
	rows    [][]float32
	classes []int
	weights []float64 // of each row; 0 where the bootstrap left it out
	count   int       // of classes
	depth   int
	least   int // rows in a leaf
	tries   int // features that are looked at for a split
	chance  chance
	tree    forest.Tree
	order   []int      // of features; shuffled as they are drawn
	ranks   [][]uint32 // of each feature's values
	sorted  []uint64   // a node's rows in the order of a feature: rank, and place among the node's rows
	other   []uint64
}

// grow makes a node of rows, and everything below it.
func (g *grower) grow(rows []int, depth int) int {
	at := len(g.tree)
	g.tree = append(g.tree, forest.Node{})
	total := make([]float64, g.count)
	kinds := 0
	for _, i := range rows {
		if total[g.classes[i]] == 0 {
			kinds++
		}
		total[g.classes[i]] += g.weights[i]
	}
	if kinds > 1 && depth < g.depth && len(rows) >= 2*g.least {
		if feature, threshold, ok := g.split(rows, total); ok {
			left, right := part(rows, func(i int) bool { return float64(g.rows[i][feature]) <= threshold })
			nd := forest.Node{Feature: feature, Threshold: threshold}
			nd.Left = g.grow(left, depth+1)
			nd.Right = g.grow(right, depth+1)
			g.tree[at] = nd
			return at
		}
	}
	sum := 0.0
	for _, w := range total {
		sum += w
	}
	for c := range total {
		total[c] /= sum
	}
	g.tree[at] = forest.Node{Shares: total}
	return at
}

// part divides rows, and keeps their order within each part.
func part(rows []int, left func(int) bool) (yes, no []int) {
	for _, i := range rows {
		if left(i) {
			yes = append(yes, i)
		} else {
			no = append(no, i)
		}
	}
	return yes, no
}

// split finds the best split among features drawn by chance. Those that have one value in all rows are drawn, and not counted.
func (g *grower) split(rows []int, total []float64) (feature int, threshold float64, ok bool) {
	best := math.Inf(-1)
	tried := 0
	for drawn := 0; drawn < len(g.order) && tried < g.tries; drawn++ {
		k := drawn + g.chance.below(len(g.order)-drawn)
		g.order[drawn], g.order[k] = g.order[k], g.order[drawn]
		f := g.order[drawn]
		if !g.sort(rows, f) {
			continue
		}
		tried++
		if t, score, found := g.cut(rows, total, f); found && score > best {
			best, feature, threshold, ok = score, f, t, true
		}
	}
	return feature, threshold, ok
}

// sort fills sorted with the places of rows in the order of a feature; equal values stay in the order of rows. It says whether
// there are two values.
func (g *grower) sort(rows []int, feature int) bool {
	g.sorted = g.sorted[:0]
	ranks := g.ranks[feature]
	for k, i := range rows {
		g.sorted = append(g.sorted, uint64(ranks[i])<<32|uint64(k))
	}
	if len(rows) < radixFrom {
		slices.Sort(g.sorted)
	} else {
		g.other = append(g.other[:0], g.sorted...)
		for shift := 32; shift < 56; shift += 8 {
			radix(g.sorted, g.other, shift)
			g.sorted, g.other = g.other, g.sorted
		}
	}
	return g.sorted[0]>>32 != g.sorted[len(g.sorted)-1]>>32
}

// radixFrom is from how many rows on sorting by digits is faster. Ranks have three: there are fewer than 2^24 rows.
const radixFrom = 256

// radix copies from one list to another in the order of eight bits, and keeps the order of equals.
func radix(from, to []uint64, shift int) {
	var starts [257]int
	for _, k := range from {
		starts[k>>shift&255+1]++
	}
	for i := range 256 {
		starts[i+1] += starts[i]
	}
	for _, k := range from {
		digit := k >> shift & 255
		to[starts[digit]] = k
		starts[digit]++
	}
}

// rank returns for each feature the rank of each row's value: 0 for the least, the same for equal ones.
func rank(rows [][]float32, features int) [][]uint32 {
	ranks := make([][]uint32, features)
	values := make([]float32, len(rows))
	for f := range ranks {
		for i, r := range rows {
			values[i] = r[f]
		}
		slices.Sort(values)
		distinct := slices.Compact(values)
		ranks[f] = make([]uint32, len(rows))
		for i, r := range rows {
			at, _ := slices.BinarySearch(distinct, r[f])
			ranks[f][i] = uint32(at)
		}
	}
	return ranks
}

// cut finds the threshold for which Gini's impurity is least: it is for which the sum of squares of the classes' weights, divided by
// their sum, is most, on both sides together. It lies anywhere between the two values that it parts, and not in the middle as in CART:
// trees then disagree where there was no data, and what another device measures there is not always on the wrong side.
func (g *grower) cut(rows []int, total []float64, feature int) (threshold, score float64, ok bool) {
	left, right := make([]float64, g.count), slices.Clone(total)
	var leftSum, rightSum, leftSquares, rightSquares float64
	for _, w := range total {
		rightSum += w
		rightSquares += float64(w * w)
	}
	score = math.Inf(-1)
	var low, high float32
	n := len(g.sorted)
	for k := range n - g.least {
		i := rows[g.sorted[k]&math.MaxUint32]
		c, w := g.classes[i], g.weights[i]
		leftSquares += float64(w * (2*left[c] + w))
		rightSquares -= float64(w * (2*right[c] - w))
		left[c] += w
		right[c] -= w
		leftSum += w
		rightSum -= w
		if k+1 < g.least || g.sorted[k]>>32 == g.sorted[k+1]>>32 {
			continue
		}
		if s := float64(leftSquares/leftSum) + float64(rightSquares/rightSum); s > score {
			low, high = g.rows[i][feature], g.rows[rows[g.sorted[k+1]&math.MaxUint32]][feature]
			score, ok = s, true
		}
	}
	if !ok {
		return 0, score, false
	}
	threshold = float64(low) + float64(float64(high)-float64(low))*g.chance.unit()
	if threshold >= float64(high) { // between neighbours there is nothing
		threshold = float64(low)
	}
	return threshold, score, true
}
