// Package arch is the floor plan as a test: see arch_test.go and ARCHITECTURE.md.
package arch
