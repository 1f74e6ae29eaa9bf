package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"ringfence/loadtest/result"
)

//go:embed page.html
var pageText string

// figure is a chart with its legend.
type figure struct {
	Title  string
	Legend []key
	SVG    template.HTML
}

type key struct{ Name, Class string }

func (c chart) figure() figure {
	f := figure{Title: c.title, SVG: c.svg()}
	for _, l := range c.lines {
		class := l.class
		if l.dash {
			class += " dash"
		}
		f.Legend = append(f.Legend, key{l.name, class})
	}
	return f
}

// WriteHTML writes a page that needs nothing else.
func (r Report) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	var figures []figure
	for _, c := range r.charts() {
		if f := c.figure(); f.SVG != "" {
			figures = append(figures, f)
		}
	}
	return t.Execute(w, struct {
		Report
		Several bool
		Figures []figure
	}{r, len(r.Groups) > 1, figures})
}

// WriteJSON writes the figures as data.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// WriteMarkdown writes the figures as tables.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	put := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format, args...) } // to memory
	for _, p := range r.Phases {
		put("### %s\n\n|", p.Name)
		for _, g := range r.Groups {
			put(" | %s", g.Title())
		}
		put(" |\n|---%s|\n", strings.Repeat("|---:", len(r.Groups)))
		for _, f := range p.Figures {
			put("| %s", f.Title())
			for _, c := range f.Cells {
				put(" | %s", strings.TrimSpace(f.Text(c)+" "+c.RatioText()))
			}
			put(" |\n")
		}
		put("\n")
	}
	for _, g := range r.Groups {
		for _, t := range g.Failed {
			put("- %s, %s: `%s` failed: %s\n", g.Label, t.Phase, t.Text, t.Shown)
		}
		for _, why := range g.Void {
			put("- %s is void: %s\n", g.Label, why)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Title is the label, with how many runs there are of it.
func (g Group) Title() string {
	if g.Count > 1 {
		return fmt.Sprintf("%s (%d runs)", g.Label, g.Count)
	}
	return g.Label
}

// colours are how many the style sheet has for groups.
const colours = 6

func colour(i int) string { return fmt.Sprintf("c%d", i%colours) }

// charts are all pictures. Of several runs of a label the first is drawn.
func (r Report) charts() (list []chart) {
	for _, p := range r.Phases {
		list = append(list, r.byPercentile(p.Name))
	}
	list = append(list, r.latency(), r.over("Answers over time", "answers a second", 0, func(t result.Tick) (float64, bool) {
		return float64(t.Answered()) / t.Seconds, t.Seconds > 0
	}))
	for _, g := range r.Groups {
		list = append(list, statuses(g, len(r.Groups) > 1))
	}
	list = append(list, r.over("Hit ratio over time", "answers from a cache, %", 100, func(t result.Tick) (float64, bool) {
		return 100 * float64(t.Hits) / float64(t.Told), t.Told > 0
	}))
	return append(list, r.origin())
}

// nines are the percentiles that the axis names.
var nines = []struct {
	percentile float64
	text       string
}{{0, "0 %"}, {50, "50 %"}, {90, "90 %"}, {99, "99 %"}, {99.9, "99.9 %"}, {99.99, "99.99 %"}, {99.999, "99.999 %"}}

// byPercentile is the latency that parts of the answers do not pass. Each step to the
// right leaves a tenth of those that are left.
func (r Report) byPercentile(phase string) chart {
	c := chart{title: "Latency by percentile: " + phase, x: "part of the answers", y: "latency, ms", logX: true, logY: true}
	most := int64(0)
	for i, g := range r.Groups {
		l := line{name: g.Label, class: colour(i)}
		for _, p := range g.Runs[0].Phases {
			if p.Name != phase || p.Warmup || p.Latency.Count() == 0 {
				continue
			}
			most = max(most, p.Latency.Count())
			for step := 0.0; ; step += 0.05 {
				left := math.Pow(10, step)
				l.at = append(l.at, point{left, p.Latency.Percentile(100-100/left).Seconds() * 1000})
				if left > float64(p.Latency.Count()) {
					break
				}
			}
		}
		if len(l.at) > 0 {
			c.lines = append(c.lines, l)
		}
	}
	for _, n := range nines {
		if left := 100 / (100 - n.percentile); left <= float64(max(most, 10)) {
			c.xTicks = append(c.xTicks, tick{left, n.text})
		}
	}
	return c
}

// steps are the ticks of a run on its own clock.
func steps(run result.Run, of func(result.Tick) (float64, bool)) (at []point) {
	for _, p := range run.Phases {
		if repeated(run, p) {
			continue
		}
		for _, t := range p.Series {
			if v, ok := of(t); ok {
				at = append(at, point{p.Start + t.At, v})
			}
		}
	}
	return at
}

// repeated reports whether a phase is a step of a search that is in the run as such.
func repeated(run result.Run, p result.Phase) bool {
	for _, other := range run.Phases {
		if !p.Warmup && other.Warmup && other.Start == p.Start {
			return true
		}
	}
	return false
}

// phaseMarks are where the phases of the first run begin.
func (r Report) phaseMarks() (list []mark) {
	run := r.Groups[0].Runs[0]
	for _, p := range run.Phases {
		if !repeated(run, p) && len(run.Phases) > 1 {
			list = append(list, mark{p.Start, p.Name})
		}
	}
	return list
}

func (r Report) over(title, y string, most float64, of func(result.Tick) (float64, bool)) chart {
	c := chart{title: title, x: "seconds", y: y, yMax: most, marks: r.phaseMarks()}
	for i, g := range r.Groups {
		if at := steps(g.Runs[0], of); len(at) > 0 {
			c.lines = append(c.lines, line{name: g.Label, class: colour(i), at: at})
		}
	}
	return c
}

// latency is the median and the 99th percentile over time.
func (r Report) latency() chart {
	c := chart{title: "Latency over time", x: "seconds", y: "latency, ms", logY: true, marks: r.phaseMarks()}
	for i, g := range r.Groups {
		for _, l := range []struct {
			name string
			dash bool
			of   func(result.Tick) float64
		}{
			{"p99", false, func(t result.Tick) float64 { return t.P99 }},
			{"median", true, func(t result.Tick) float64 { return t.P50 }},
		} {
			at := steps(g.Runs[0], func(t result.Tick) (float64, bool) { return l.of(t) / 1000, t.Answered() > 0 })
			name := l.name
			if len(r.Groups) > 1 {
				name = g.Label + ", " + l.name
			}
			if len(at) > 0 {
				c.lines = append(c.lines, line{name: name, class: colour(i), at: at, dash: l.dash})
			}
		}
	}
	return c
}

// statuses are what became of requests over time, on top of each other.
func statuses(g Group, several bool) chart {
	c := chart{title: "Outcomes over time", x: "seconds", y: "requests a second", stacked: true}
	if several {
		c.title += ": " + g.Label
	}
	for _, s := range []struct {
		name, class string
		class0      int
	}{
		{"no right answer", "s0", 0}, {"5xx", "s5", 5}, {"4xx", "s4", 4}, {"3xx", "s3", 3}, {"2xx", "s2", 2},
	} {
		total := 0
		at := steps(g.Runs[0], func(t result.Tick) (float64, bool) {
			total += t.Classes[s.class0]
			return float64(t.Classes[s.class0]) / max(t.Seconds, 1e-9), true
		})
		if total > 0 {
			c.lines = append(c.lines, line{name: s.name, class: s.class, at: at})
		}
	}
	return c
}

// origin is how many of a hundred requests reached the origin in each phase.
func (r Report) origin() chart {
	c := chart{title: "Requests to the origin, of 100 requests"}
	for _, p := range r.Phases {
		heading := bar{name: p.Name}
		for i, g := range r.Groups {
			for _, got := range g.Runs[0].Phases {
				if got.Name != p.Name || got.Warmup || got.Origin == nil || got.Sent == 0 {
					continue
				}
				if heading.name != "" {
					c.bars = append(c.bars, heading)
					heading.name = ""
				}
				part := 100 * float64(got.Origin.Requests) / float64(got.Sent)
				c.bars = append(c.bars, bar{g.Label, colour(i), part, digits(part)})
			}
		}
	}
	if len(c.bars) > 0 { // their legend
		for i, g := range r.Groups {
			c.lines = append(c.lines, line{name: g.Label, class: colour(i)})
		}
	}
	return c
}
