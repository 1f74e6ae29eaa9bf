package redis

// Position is how far the tier of an instance had come on the line of
// invalidations of one node: what a later process needs to go on from there with
// what the tier held.
type Position struct {
	// Node is the node's name, and Line which line of it; never 0.
	Node string
	Line uint64
	// At is the number of the last invalidation that was applied.
	At uint64
}

// Positions tells how far the tier has come on each node's line. Whatever is read
// from the tier after the call lacks nothing that was invalidated before them.
func (e *Engine) Positions() []Position {
	var all []Position
	for _, n := range e.nodes {
		if p := n.line.position(); p.line != 0 {
			all = append(all, Position{Node: n.name, Line: p.line, At: p.at})
		}
	}
	return all
}

// Covers reports whether the tier has by now been told of all that was
// invalidated since it was at ps, so that what it held there can be judged by
// what Tier.Apply and Tier.Drop were told in this process: it follows one of the
// lines without a gap, from there or from before, and has come to its end at least
// once. It is sure where the answer can only be the same later.
func (e *Engine) Covers(ps []Position) (covered, sure bool) {
	sure = true
	for _, n := range e.nodes {
		for _, p := range ps {
			if p.Node != n.name {
				continue
			}
			yes, asked := n.line.covers(position{p.Line, p.At})
			covered, sure = covered || yes, sure && asked
		}
	}
	return covered, covered || sure
}

// resume has the lines go on from positions, before anything is asked of them.
func (e *Engine) resume(ps []Position) {
	for _, n := range e.nodes {
		for _, p := range ps {
			if p.Node == n.name && p.Line != 0 {
				n.line.begin(position{p.Line, p.At})
			}
		}
	}
}

func (l *line) covers(p position) (yes, asked bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	asked = !l.synced.IsZero()
	return asked && p.line == l.applied.line && p.at >= l.first, asked
}
