// Package linux is a driver: a real board. It knows who the machine is, keeps its clock and its durable files, and reads,
// writes and switches the slots it boots from.
package linux
