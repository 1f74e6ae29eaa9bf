package health

// State is what the probes so far say of one target. It is a plain value: keep
// it, compare it, copy it. The zero State is a target that was never probed: it
// is up, because a server nobody has asked yet deserves traffic, and it is not
// proven.
type State struct {
	Down      bool // no traffic should go there
	Proven    bool // at least one probe has come to an end
	Successes int  // good probes in a row, 0 after a bad one
	Failures  int  // bad probes in a row, 0 after a good one
}

// Up says whether the target should get traffic.
func (s State) Up() bool { return !s.Down }

// inTransition says whether the last result speaks against the state, so that
// it may be about to change.
func (s State) inTransition() bool {
	return s.Down && s.Successes > 0 || !s.Down && s.Failures > 0
}

// Observe returns the state after one more probe, and whether that probe made
// the target change between up and down.
//
// The first probe is conclusive in both directions: a single failure takes an
// unproven target down, a single success proves it up. From then on it takes
// fall failures in a row to go down and rise successes in a row to come back.
// A threshold below 1 counts as 1.
func (s State) Observe(ok bool, rise, fall int) (next State, changed bool) {
	next = State{Down: s.Down, Proven: true}
	if ok {
		next.Successes = s.Successes + 1
		changed = s.Down && next.Successes >= rise
	} else {
		next.Failures = s.Failures + 1
		changed = !s.Down && (!s.Proven || next.Failures >= fall)
	}
	next.Down = s.Down != changed
	return next, changed
}
