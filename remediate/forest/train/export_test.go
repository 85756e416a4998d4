package train

// Unheld makes a model without holding anything out: what the forest names is the same, only confidences are not.
func Unheld(s *Set, o Options) ([]byte, error) {
	r := &Result{Temperature: 1, Prior: 1}
	err := s.fit(r, o.orDefaults())
	return r.Bytes, err
}
