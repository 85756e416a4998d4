package iface

// Kept reads what is kept of an interface, and returns how many messages that are.
func Kept(text []byte) (int, error) {
	l, err := parse(text)
	return len(l), err
}
