// Package probe is a driver: it asks how far the way to the cloud goes, and so tells a lost link from a dead gateway, from
// names that are not answered, and from what lies beyond.
package probe
