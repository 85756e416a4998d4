// Package train is a leaf: it grows forests of labelled rows, for the operator. The device carries none of it.
//
// The same rows and the same seed make the same bytes, on any number of processors: everything is computed in one order, and
// chance comes from a generator of each tree's own.
package train
