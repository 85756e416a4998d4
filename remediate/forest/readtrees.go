package forest

import (
	"encoding/binary"
	"math"
)

// sizes reads how many nodes each tree has, which are all nodes together.
func (r *reader) sizes(trees, nodes int) []int {
	if r.err != nil {
		return nil
	}
	sizes, sum := make([]int, trees), 0
	for t := range sizes {
		sizes[t] = r.count("nodes of a tree", 1, math.MaxUint16)
		sum += sizes[t]
	}
	if r.err == nil && sum != nodes {
		r.fail("%d nodes in its trees, and says %d", sum, nodes)
	}
	return sizes
}

// nodes reads the trees.
func (r *reader) nodes(m *Model, sizes []int, leaves, nodes int) {
	if r.err == nil && nodes*nodeBytes > len(r.rest) {
		r.fail("ends too early")
	}
	if r.err != nil {
		return
	}
	m.nodes, m.roots = make([]node, nodes), make([]int32, len(sizes))
	seen := make([]bool, len(m.Features))
	at := 0
	for t, size := range sizes {
		m.roots[t] = int32(at)
		for i := range size {
			b := r.take(nodeBytes)
			n := node{feature: binary.LittleEndian.Uint16(b), next: binary.LittleEndian.Uint16(b[2:]),
				threshold: math.Float32frombits(binary.LittleEndian.Uint32(b[4:]))}
			m.nodes[at+i] = n
			switch {
			case n.feature == leaf && (int(n.next) >= leaves || n.threshold != 0):
				r.fail("tree %d, node %d: leaf %d of %d, threshold %g", t, i, n.next, leaves, n.threshold)
			case n.feature != leaf && int(n.feature) >= len(m.Features):
				r.fail("tree %d, node %d: feature %d of %d", t, i, n.feature, len(m.Features))
			case n.feature != leaf && !finite(n.threshold):
				r.fail("tree %d, node %d: threshold %g", t, i, n.threshold)
			case n.feature != leaf:
				seen[n.feature] = true
			}
		}
		if r.err != nil {
			return
		}
		m.visits += r.shape(t, m.nodes[at:at+size])
		at += size
	}
	if m.visits > MaxVisits {
		r.fail("%w: %d comparisons in its deepest paths: wants at most %d", ErrBounds, m.visits, MaxVisits)
	}
	for i, yes := range seen {
		if yes {
			m.used = append(m.used, uint16(i))
		}
	}
}

// shape checks that nodes are one tree, in the order in which a walk meets them, the first child before the second, and returns
// its depth. In that order a node's second child is the node behind everything below its first.
func (r *reader) shape(t int, nodes []node) (depth int) {
	var open [MaxVisits + 1]int // the second children that are still to come, the next one last
	var depths [MaxVisits + 1]int
	n, here := 0, 0
	for i, nd := range nodes {
		if nd.feature != leaf {
			if here++; here > MaxVisits {
				r.fail("tree %d: deeper than %d", t, MaxVisits)
				return 0
			}
			open[n], depths[n] = int(nd.next), here
			n++
			continue
		}
		depth = max(depth, here)
		switch {
		case n == 0 && i != len(nodes)-1:
			r.fail("tree %d, node %d: no node leads to the next", t, i)
			return 0
		case n == 0:
			return depth
		case open[n-1] != i+1:
			r.fail("tree %d, node %d: is no tree: its second child is node %d, and it comes at %d", t, i, open[n-1], i+1)
			return 0
		}
		n--
		here = depths[n]
	}
	r.fail("tree %d: ends before its last leaf", t)
	return 0
}
