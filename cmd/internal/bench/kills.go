package main

func kills(*workshop, options, *table) error { return nil }
