//go:build !race

package main_test

const raceOn = false
