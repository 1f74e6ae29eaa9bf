package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// chart is a picture of lines, of areas on top of each other, or of bars.
type chart struct {
	title, x, y string // y with its unit
	logX, logY  bool
	stacked     bool
	xTicks      []tick // nil: round numbers
	lines       []line
	marks       []mark
	bars        []bar   // in place of lines
	yMax        float64 // 0: of the data
}

// line is what is drawn in one colour.
type line struct {
	name  string
	class string // of the style sheet: its colour
	at    []point
	dash  bool
}

type point struct{ x, y float64 }

type tick struct {
	at   float64
	text string
}

// bar is a number of some hundred, with its name; a row without is a heading.
type bar struct {
	name, class string
	value       float64
	text        string
}

// mark is a place on the x axis that has a name.
type mark struct {
	x    float64
	name string
}

// The sizes of a picture, in units of its own.
const (
	width, height             = 720.0, 300.0
	left, right, top, bottom  = 62.0, 26.0, 26.0, 44.0
	plotWidth, plotHeight     = width - left - right, height - top - bottom
	smallestOnLog             = 1e-6
	tickCount                 = 6.0
	characterWidth, lineSpace = 6.2, 14.0
)

// axis maps values to places between 0 and 1.
type axis struct {
	low, high float64
	log       bool
}

func (a axis) of(v float64) float64 {
	if a.log {
		return (math.Log(max(v, a.low)) - math.Log(a.low)) / (math.Log(a.high) - math.Log(a.low))
	}
	return (v - a.low) / (a.high - a.low)
}

// ticks are round numbers along the axis.
func (a axis) ticks() (list []tick) {
	if a.log {
		for at := math.Pow(10, math.Floor(math.Log10(a.low))); at <= a.high*1.0001; at *= 10 {
			for _, factor := range []float64{1, 2, 5} {
				v := at * factor
				few := math.Log10(a.high/a.low) < 3
				if v >= a.low*0.9999 && v <= a.high*1.0001 && (factor == 1 || few) {
					list = append(list, tick{v, label(v)})
				}
			}
		}
		return list
	}
	step := roundUp((a.high - a.low) / tickCount)
	for at := math.Ceil(a.low/step) * step; at <= a.high+step/1000; at += step {
		list = append(list, tick{at, label(math.Round(at/step) * step)})
	}
	return list
}

// roundUp returns 1, 2 or 5 times a power of ten.
func roundUp(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, factor := range []float64{1, 2, 5} {
		if v <= factor*power*1.0001 {
			return factor * power
		}
	}
	return 10 * power
}

func label(v float64) string {
	if v >= 10_000 {
		return grouped(fmt.Sprintf("%.0f", v))
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.4f", v), "0"), ".")
}

// axes are those that all lines fit in.
func (c chart) axes() (x, y axis, ok bool) {
	x, y = axis{math.Inf(1), math.Inf(-1), c.logX}, axis{0, c.yMax, c.logY}
	lowest := math.Inf(1)
	for _, l := range c.lines {
		for _, p := range l.at {
			x.low, x.high = min(x.low, p.x), max(x.high, p.x)
			if y.high = max(y.high, p.y); p.y > 0 {
				lowest = min(lowest, p.y)
			}
		}
	}
	if len(c.xTicks) > 0 && len(c.lines) > 0 {
		x.low, x.high = min(x.low, c.xTicks[0].at), max(x.high, c.xTicks[len(c.xTicks)-1].at)
	}
	if math.IsInf(y.high, 0) || len(c.lines) == 0 {
		return x, y, false
	}
	if x.high <= x.low {
		x.high = x.low + 1
	}
	switch {
	case c.logY && math.IsInf(lowest, 0):
		y.low, y.high = smallestOnLog, 1
	case c.logY:
		y.low = math.Pow(10, math.Floor(math.Log10(lowest)))
		y.high = max(math.Pow(10, math.Ceil(math.Log10(y.high))), 10*y.low)
	case y.high <= 0:
		y.high = 1
	case c.yMax == 0:
		y.high *= 1.05
	}
	return x, y, true
}

// svg draws the picture; "" where there is nothing to see.
func (c chart) svg() template.HTML {
	if len(c.bars) > 0 {
		return c.rows()
	}
	if c.stacked {
		c.lines = stack(c.lines)
	}
	x, y, ok := c.axes()
	if !ok {
		return ""
	}
	toX := func(v float64) float64 { return left + x.of(v)*plotWidth }
	toY := func(v float64) float64 { return top + (1-min(max(y.of(v), 0), 1))*plotHeight }
	var b strings.Builder
	draw := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format, args...) } // to memory
	draw(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, html.EscapeString(c.title))
	draw(`<text class="y" x="4" y="14">%s</text>`, html.EscapeString(c.y))
	for _, t := range y.ticks() {
		draw(`<path class="grid" d="M%.1f %.1fH%.1f"/><text class="tick" text-anchor="end" x="%.1f" y="%.1f">%s</text>`,
			left, toY(t.at), width-right, left-6, toY(t.at)+4, t.text)
	}
	ticks := c.xTicks
	if ticks == nil {
		ticks = x.ticks()
	}
	for _, t := range ticks {
		draw(`<path class="grid" d="M%.1f %.1fV%.1f"/><text class="tick" text-anchor="middle" x="%.1f" y="%.1f">%s</text>`,
			toX(t.at), top, top+plotHeight, toX(t.at), top+plotHeight+lineSpace+2, t.text)
	}
	free := 0.0
	for _, m := range c.marks {
		draw(`<path class="mark" d="M%.1f %.1fV%.1f"/>`, toX(m.x), top, top+plotHeight)
		if at := toX(m.x) + 4; at >= free && at+characterWidth*float64(len(m.name)) < width {
			draw(`<text class="tick" x="%.1f" y="%.1f">%s</text>`, at, top+12, html.EscapeString(m.name))
			free = at + characterWidth*float64(len(m.name)) + 4
		}
	}
	for i, l := range c.lines {
		var d strings.Builder
		for n, p := range l.at {
			_, _ = fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(n, 1)], toX(p.x), toY(p.y))
		}
		switch {
		case c.stacked:
			// Back along the line below, which is drawn later.
			for n := len(l.at) - 1; n >= 0; n-- {
				below := 0.0
				if i+1 < len(c.lines) {
					below = c.lines[i+1].at[n].y
				}
				_, _ = fmt.Fprintf(&d, "L%.1f %.1f", toX(l.at[n].x), toY(below))
			}
			draw(`<path class="area %s" d="%sZ"><title>%s</title></path>`, l.class, d.String(), html.EscapeString(l.name))
		case len(l.at) == 1:
			draw(`<circle class="dot %s" cx="%.1f" cy="%.1f" r="3"><title>%s</title></circle>`, l.class, toX(l.at[0].x), toY(l.at[0].y), html.EscapeString(l.name))
		default:
			dash := ""
			if l.dash {
				dash = " dash"
			}
			draw(`<path class="line %s%s" d="%s"><title>%s</title></path>`, l.class, dash, d.String(), html.EscapeString(l.name))
		}
	}
	draw(`<text class="tick" text-anchor="middle" x="%.1f" y="%.1f">%s</text></svg>`, left+plotWidth/2, height-6, html.EscapeString(c.x))
	return template.HTML(b.String()) //nolint:gosec // what is not ours has been escaped
}

// rows draws the bars below each other.
func (c chart) rows() template.HTML {
	const (
		row     = 22.0
		longest = width - 80
	)
	most := 0.0
	for _, r := range c.bars {
		most = max(most, r.value)
	}
	var b strings.Builder
	draw := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format, args...) } // to memory
	draw(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, row*float64(len(c.bars)), html.EscapeString(c.title))
	for i, r := range c.bars {
		y := row * float64(i)
		if r.class == "" {
			draw(`<text x="0" y="%.1f">%s</text>`, y+row-7, html.EscapeString(r.name))
			continue
		}
		long := max(r.value/max(most, 1e-9)*longest, 1)
		draw(`<rect class="area %s" x="0" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect><text x="%.1f" y="%.1f">%s</text>`,
			r.class, y+3, long, row-6, html.EscapeString(r.name), long+6, y+row-7, r.text)
	}
	draw(`</svg>`)
	return template.HTML(b.String()) //nolint:gosec // as above
}

// stack adds the lines up, the highest first. They have the same places on x.
func stack(lines []line) []line {
	sums := make([]line, len(lines))
	for i := len(lines) - 1; i >= 0; i-- {
		sums[i] = lines[i]
		sums[i].at = append([]point(nil), lines[i].at...)
		if i+1 < len(lines) {
			for n := range sums[i].at {
				sums[i].at[n].y += sums[i+1].at[n].y
			}
		}
	}
	return sums
}
