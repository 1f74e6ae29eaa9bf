// Package report sets what came of runs side by side: as a page, as Markdown and as data.
package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"ringfence/loadtest/result"
)

// Report compares groups of runs, phase by phase.
type Report struct {
	Groups []Group `json:"groups"`
	Phases []Phase `json:"phases"`
}

// Group is the runs of one label, in order.
type Group struct {
	Label string       `json:"label"`
	Runs  []result.Run `json:"-"`
	Count int          `json:"runs"`
	// Void and Failed say what is wrong with the runs.
	Void   []string           `json:"void,omitempty"`
	Failed []result.Threshold `json:"failed,omitempty"`
}

// Phase is a part that all runs may have.
type Phase struct {
	Name    string   `json:"name"`
	Figures []Figure `json:"figures"`
}

// Figure is one of a phase's figures, of each group.
type Figure struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	Cells []Cell `json:"cells"` // in the order of the groups
}

// Cell is a figure of a group's runs: their median and what they lie between. Ratio is
// to the first group's, run by run in their order, and none of the first itself.
type Cell struct {
	Spread
	Known bool    `json:"known"` // there is one
	Ratio *Spread `json:"ratio,omitempty"`
	runs  []float64
}

// Spread is a median and the lowest and highest value.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spread is of a list that is not empty.
func spread(list []float64) Spread {
	list = slices.Sorted(slices.Values(list))
	n := len(list)
	return Spread{(list[(n-1)/2] + list[n/2]) / 2, list[0], list[n-1]}
}

// New groups runs by their label or, without, by their scenario's name, and compares
// them. Groups and phases are in the order in which they come first.
func New(runs []result.Run) Report {
	var r Report
	for _, run := range runs {
		i := slices.IndexFunc(r.Groups, func(g Group) bool { return g.Label == run.Title() })
		if i < 0 {
			i = len(r.Groups)
			r.Groups = append(r.Groups, Group{Label: run.Title()})
		}
		g := &r.Groups[i]
		g.Runs = append(g.Runs, run)
		g.Count++
		g.Void = append(g.Void, run.Void...)
		g.Failed = append(g.Failed, run.Failed()...)
	}
	for _, name := range phaseNames(runs) {
		p := Phase{Name: name}
		for _, k := range kinds() {
			f := Figure{Name: k.name, Unit: k.unit}
			known := false
			for _, g := range r.Groups {
				c := cell(g.Runs, name, k)
				known = known || c.Known
				f.Cells = append(f.Cells, c)
			}
			if known {
				compare(f.Cells)
				p.Figures = append(p.Figures, f)
			}
		}
		r.Phases = append(r.Phases, p)
	}
	return r
}

// phaseNames are those of the phases that are judged.
func phaseNames(runs []result.Run) (names []string) {
	for _, run := range runs {
		for _, p := range run.Phases {
			if !p.Warmup && !slices.Contains(names, p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	return names
}

// kind is a figure that a phase may have.
type kind struct {
	name, unit string
	of         func(result.Phase) (float64, bool)
}

func kinds() []kind {
	latency := func(name string, at float64) kind {
		return kind{name, "ms", func(p result.Phase) (float64, bool) {
			return float64(p.Latency.Percentile(at)) / float64(time.Millisecond), p.Answered() > 0
		}}
	}
	origin := func(name string, of func(result.Origin) int) kind {
		return kind{name, "", func(p result.Phase) (float64, bool) {
			if p.Origin == nil {
				return 0, false
			}
			return float64(of(*p.Origin)), true
		}}
	}
	return []kind{
		{"answers", "/s", func(p result.Phase) (float64, bool) { return p.Rate(), true }},
		latency("latency, median", 50), latency("latency, p90", 90), latency("latency, p99", 99),
		latency("latency, p99.9", 99.9), latency("latency, longest", 100),
		{"errors", "", func(p result.Phase) (float64, bool) { return float64(p.Lost()), true }},
		{"sent late", "", func(p result.Phase) (float64, bool) { return float64(p.Late), p.Open }},
		{"hit ratio", "%", func(p result.Phase) (float64, bool) { h, ok := p.HitRatio(); return 100 * h, ok }},
		{"bodies", "MiB/s", func(p result.Phase) (float64, bool) {
			return float64(p.Bytes) / (1 << 20) / max(p.Seconds, 1e-9), p.Bytes > 0
		}},
		origin("requests to the origin", func(o result.Origin) int { return o.Requests }),
		origin("the most for one key", func(o result.Origin) int { return o.PerKey }),
		origin("the most at once for one key", func(o result.Origin) int { return o.Peak }),
	}
}

func cell(runs []result.Run, phase string, k kind) (c Cell) {
	for _, run := range runs {
		if i := slices.IndexFunc(run.Phases, func(p result.Phase) bool { return p.Name == phase && !p.Warmup }); i >= 0 {
			if v, ok := k.of(run.Phases[i]); ok {
				c.runs = append(c.runs, v)
			}
		}
	}
	if c.Known = len(c.runs) > 0; c.Known {
		c.Spread = spread(c.runs)
	}
	return c
}

// compare sets the ratios to the first cell.
func compare(cells []Cell) {
	for i := 1; i < len(cells); i++ {
		var ratios []float64
		for n := range min(len(cells[0].runs), len(cells[i].runs)) {
			if base := cells[0].runs[n]; base > 0 {
				ratios = append(ratios, cells[i].runs[n]/base)
			}
		}
		if len(ratios) > 0 {
			s := spread(ratios)
			cells[i].Ratio = &s
		}
	}
}

// digits writes a number with three digits that count, or all before the point.
func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// grouped sets thousands apart.
func grouped(text string) string {
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// show writes a value of the figure.
func (f Figure) show(v float64) string {
	if f.Unit == "" && v == math.Trunc(v) { // a count
		return grouped(strconv.FormatFloat(v, 'f', 0, 64))
	}
	return digits(v)
}

// Text is a cell of the figure for people.
func (f Figure) Text(c Cell) string {
	if !c.Known {
		return "-"
	}
	text := f.show(c.Median)
	if len(c.runs) > 1 && c.Min != c.Max {
		text += fmt.Sprintf(" (%s to %s)", f.show(c.Min), f.show(c.Max))
	}
	return text
}

// RatioText is the ratio for people, "" for none.
func (c Cell) RatioText() string {
	if c.Ratio == nil {
		return ""
	}
	text := fmt.Sprintf("× %.2f", c.Ratio.Median)
	if c.Ratio.Min != c.Ratio.Max {
		text += fmt.Sprintf(" (%.2f to %.2f)", c.Ratio.Min, c.Ratio.Max)
	}
	return text
}

// Title is the figure's name and unit.
func (f Figure) Title() string {
	if f.Unit == "" {
		return f.Name
	}
	return f.Name + ", " + f.Unit
}
