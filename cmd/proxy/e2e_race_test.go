//go:build race

package main_test

// raceOn says that this test runs with the race detector; so does the binary
// it builds then.
const raceOn = true
