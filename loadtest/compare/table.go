package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Table is what one scenario came to.
type Table struct {
	Scenario    Scenario `json:"scenario"`
	Connections int      `json:"connections"`
	Cells       []Cell   `json:"cells"`
}

// Cell is what one peer came to in it.
type Cell struct {
	Peer    string  `json:"peer"`
	Missing string  `json:"missing,omitempty"` // why there are no rounds
	Rounds  []Round `json:"rounds,omitempty"`
	Memory  int64   `json:"memory,omitempty"` // at the end, in bytes
}

// Round is one measurement.
type Round struct {
	Answers int64   `json:"answers"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_us"` // microseconds of the peer's processes for each answer
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Origin  int64   `json:"origin"` // requests that reached the origin
}

// Spread is a figure of several rounds.
type Spread struct{ Median, Min, Max float64 }

// spread is of a list that is not empty.
func spread(list []float64) Spread {
	list = slices.Sorted(slices.Values(list))
	n := len(list)
	return Spread{(list[(n-1)/2] + list[n/2]) / 2, list[0], list[n-1]}
}

// of gathers a figure of each round.
func (c Cell) of(figure func(Round) float64) Spread {
	list := make([]float64, len(c.Rounds))
	for i, r := range c.Rounds {
		list[i] = figure(r)
	}
	return spread(list)
}

func cpu(r Round) float64  { return r.CPU }
func rate(r Round) float64 { return float64(r.Answers) / r.Seconds }

// over is how many times as much CPU time as another peer this one took, round by
// round: what the machine does meanwhile hits both.
func (c Cell) over(other Cell) Spread {
	list := make([]float64, min(len(c.Rounds), len(other.Rounds)))
	for i := range list {
		list[i] = c.Rounds[i].CPU / other.Rounds[i].CPU
	}
	return spread(list)
}

// cell returns that of a peer, if it was measured.
func (t Table) cell(peer string) (Cell, bool) {
	i := slices.IndexFunc(t.Cells, func(c Cell) bool { return c.Peer == peer })
	if i < 0 || len(t.Cells[i].Rounds) == 0 {
		return Cell{}, false
	}
	return t.Cells[i], true
}

// goal is a bound on how many times as much CPU time a peer may take as the best of
// others.
type goal struct {
	scenarios []string
	peer      string
	than      []string
	most      float64
	words     string
}

var hits = []string{"hit-1k", "hit-1k-1000", "hit-1k-1m"}

// goals returns what is demanded of Ringfence.
func goals() []goal {
	return []goal{
		{hits, ringfence, []string{fasthttp1}, 1.10, "fasthttp alone"},
		{hits, ringfence, []string{nginx, haproxy}, 0.95, "the better of nginx and HAProxy"},
		{[]string{"hit-100k"}, ringfence, []string{fasthttp1}, 1.0, "fasthttp alone"},
		{[]string{"hit-100k"}, ringfence, []string{"nginx-sendfile"}, 1.0, "nginx with sendfile"},
		{[]string{"pass-1k"}, ringfence, []string{nginx}, 1.0, "nginx"},
		{[]string{"pass-1k"}, ringfence, []string{haproxy}, 1.0, "HAProxy"},
		// Two cores answer 1.8 times as much as one where an answer costs 1.11 times as much.
		{[]string{"hit-1k"}, ringfence2, []string{ringfence}, 2 / 1.8, "itself on one core"},
	}
}

// Verdict is what came of a goal.
type Verdict struct {
	Text string
	Met  bool
}

// Judge holds a table against what is demanded. What was not measured is not judged.
func (t Table) Judge() (verdicts []Verdict) {
	for _, g := range goals() {
		own, ok := t.cell(g.peer)
		if !ok || !slices.Contains(g.scenarios, t.Scenario.Name) {
			continue
		}
		var others []Cell
		for _, name := range g.than {
			if c, ok := t.cell(name); ok {
				others = append(others, c)
			}
		}
		if len(others) == 0 {
			continue
		}
		best := slices.MinFunc(others, func(a, b Cell) int { return cmp.Compare(a.of(cpu).Median, b.of(cpu).Median) })
		ratio := own.over(best)
		v := Verdict{Met: math.Round(ratio.Median*100)/100 <= math.Round(g.most*100)/100}
		word := "missed"
		if v.Met {
			word = "met"
		}
		v.Text = fmt.Sprintf("%s: %s takes at most %.2f times the CPU time of %s: %.2f (%.2f to %.2f), %s",
			t.Scenario.Name, g.peer, g.most, g.words, ratio.Median, ratio.Min, ratio.Max, word)
		verdicts = append(verdicts, v)
	}
	return verdicts
}
