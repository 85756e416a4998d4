package bsdiff

// sortSuffixes fills sa, which has the length of text, with the starts of text's suffixes in lexical order. The suffix
// that is a prefix of another comes first. It needs four bytes a byte of text and, beside sa, two bits a byte.
//
// The method is induced sorting (Nong, Zhang, Chan: "Two Efficient Algorithms for Linear Time Suffix Array
// Construction", IEEE Transactions on Computers 60, 2011): sort only the suffixes that start a valley of the text,
// through the names of the substrings between two valleys, and let their order induce that of all others.
func sortSuffixes(text []byte, sa []int32) { induce(text, sa, 256) }

// A valley is a place where the text begins to rise: smaller than its left neighbour, and its suffix smaller than the
// next. kinds has one bit a place, set when the suffix there is smaller than the one after it.
type kinds []uint64

func (k kinds) rising(i int) bool { return k[i>>6]>>(uint(i)&63)&1 != 0 }
func (k kinds) valley(i int) bool { return i > 0 && k.rising(i) && !k.rising(i-1) }

func kindsOf[T byte | int32](text []T) kinds {
	k := make(kinds, len(text)/64+1)
	rising := false // the last suffix is greater than the empty one
	for i := len(text) - 2; i >= 0; i-- {
		if text[i] != text[i+1] {
			rising = text[i] < text[i+1]
		}
		if rising {
			k[i>>6] |= 1 << (uint(i) & 63)
		}
	}
	return k
}

// buckets writes into ends the place after (or, with starts, of) each letter's range in the suffix array.
func buckets[T byte | int32](text []T, at []int32, starts bool) {
	clear(at)
	for _, c := range text {
		at[c]++
	}
	sum := int32(0)
	for i, n := range at {
		sum += n
		if at[i] = sum; starts {
			at[i] = sum - n
		}
	}
}

// spread induces, from the valleys' suffixes at the ends of their buckets, first the falling suffixes from left to
// right, then the rising ones from right to left. Empty places hold -1.
func spread[T byte | int32](text []T, sa []int32, k kinds, at []int32) {
	buckets(text, at, true)
	n := len(text)
	if n > 0 { // the empty suffix, which is not stored, induces the last one
		c := text[n-1]
		sa[at[c]] = int32(n - 1)
		at[c]++
	}
	for i := range sa {
		if j := int(sa[i]) - 1; j >= 0 && !k.rising(j) {
			c := text[j]
			sa[at[c]] = int32(j)
			at[c]++
		}
	}
	buckets(text, at, false)
	for i := n - 1; i >= 0; i-- {
		if j := int(sa[i]) - 1; j >= 0 && k.rising(j) {
			c := text[j]
			at[c]--
			sa[at[c]] = int32(j)
		}
	}
}

func fill(sa []int32) {
	for i := range sa {
		sa[i] = -1
	}
}

func induce[T byte | int32](text []T, sa []int32, letters int) {
	n := len(text)
	if n < 2 {
		for i := range sa {
			sa[i] = 0
		}
		return
	}
	k := kindsOf(text)
	at := make([]int32, letters)

	// the substrings from valley to valley, sorted
	fill(sa)
	buckets(text, at, false)
	for i := n - 1; i > 0; i-- {
		if k.valley(i) {
			at[text[i]]--
			sa[at[text[i]]] = int32(i)
		}
	}
	spread(text, sa, k, at)
	valleys := 0
	for _, p := range sa {
		if k.valley(int(p)) {
			sa[valleys] = p
			valleys++
		}
	}
	names := name(text, sa, k, valleys)

	// their order: by name alone when no two are equal, else through the suffixes of the string of names
	short := sa[n-valleys:]
	if names < valleys {
		induce(short, sa[:valleys], names)
	} else {
		for i, c := range short {
			sa[c] = int32(i)
		}
	}
	for i, j := n-1, valleys-1; i > 0; i-- {
		if k.valley(i) {
			short[j] = int32(i)
			j--
		}
	}
	for i, r := range sa[:valleys] {
		sa[i] = short[r]
	}

	// all others from them
	fill(sa[valleys:])
	buckets(text, at, false)
	for i := valleys - 1; i >= 0; i-- {
		p := sa[i]
		sa[i] = -1
		at[text[p]]--
		sa[at[text[p]]] = p
	}
	spread(text, sa, k, at)
}

// name gives the sorted substrings sa[:valleys] numbers in their order, equal ones the same, and leaves the numbers in
// text order at the end of sa. It returns how many there are.
func name[T byte | int32](text []T, sa []int32, k kinds, valleys int) int {
	rest := sa[valleys:]
	fill(rest)
	names, last := 0, -1
	for _, p := range sa[:valleys] {
		if last < 0 || !sameValley(text, k, last, int(p)) {
			names++
		}
		last = int(p)
		rest[p/2] = int32(names - 1) // two valleys are never neighbours
	}
	for i, j := len(rest)-1, len(rest)-1; i >= 0; i-- {
		if rest[i] >= 0 {
			rest[j] = rest[i]
			j--
		}
	}
	return names
}

// sameValley says whether the substrings from two valleys to the next valley (included) are equal.
func sameValley[T byte | int32](text []T, k kinds, a, b int) bool {
	for d := 0; ; d++ {
		if a+d == len(text) || b+d == len(text) {
			return false // only one of them reaches the end
		}
		if text[a+d] != text[b+d] || k.rising(a+d) != k.rising(b+d) {
			return false
		}
		if d > 0 && (k.valley(a+d) || k.valley(b+d)) {
			return k.valley(a+d) && k.valley(b+d)
		}
	}
}
