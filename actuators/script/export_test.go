package script

// Declared reads a declaration and returns its check of arguments.
func Declared(text []byte) (check func([]string) error, err error) {
	d, err := parse(text)
	return d.check, err
}
