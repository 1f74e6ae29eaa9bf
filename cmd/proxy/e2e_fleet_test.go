package main_test

import (
	"strings"
	"testing"

	"ringfence/loadtest/drill"
)

// margin is what the drills' bounds on time and memory are multiplied by. With
// the race detector a fleet on two cores was seen to take three times as long and
// six times the memory, and go test runs another package beside it. What a drill
// counts is exact all the same. Without the detector the bounds are those that
// are promised.
func margin() float64 {
	if raceOn {
		return 8
	}
	return 1
}

// The drills are what a fleet of three promises, with a real engine. What they
// measure is time, so they do not run in parallel with other tests here.
func TestFleet(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=20")
	for _, d := range drill.Fleet() {
		t.Run(d.Name, func(t *testing.T) {
			r, err := d.Run(t.Context(), drill.Env{Proxy: binary, Margin: margin()})
			if err != nil {
				t.Error(err)
			}
			tell(t, d, r)
		})
	}
}

// tell fails the test for each requirement of a drill that was not met, and then
// shows them all.
func tell(t *testing.T, d drill.Drill, r drill.Report) {
	t.Helper()
	for _, l := range r.Failed() {
		t.Errorf("%s: %s, want %s", l.What, l.Got, l.Want)
	}
	if t.Failed() || testing.Verbose() {
		var all strings.Builder
		if _, err := r.WriteTo(&all); err != nil {
			t.Error(err)
		}
		t.Logf("%s:\n%s", d.About, all.String())
	}
}
