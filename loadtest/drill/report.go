package drill

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"
)

// Report is what a drill found. Its zero value is empty.
type Report struct {
	Lines []Line
	// Void says that the machine had too little time for the drill's own load,
	// so that what was found says nothing of the proxy. One line says so, too.
	Void bool
}

// Line is one figure, with the verdict where it is a requirement.
type Line struct {
	What string
	Want string // "" where nothing is required
	Got  string
	Met  bool // true where nothing is required
}

// Failed returns the requirements that were not met.
func (r Report) Failed() []Line {
	var failed []Line
	for _, l := range r.Lines {
		if !l.Met {
			failed = append(failed, l)
		}
	}
	return failed
}

// WriteTo writes the report as a table for people to read.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	count := &counter{w: w}
	t := tabwriter.NewWriter(count, 0, 0, 2, ' ', 0)
	for _, l := range r.Lines {
		verdict := "ok"
		switch {
		case !l.Met:
			verdict = "FAILED"
		case l.Want == "":
			verdict = "-"
		}
		if _, err := fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", verdict, l.What, l.Got, l.Want); err != nil {
			return count.n, err
		}
	}
	err := t.Flush()
	return count.n, err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (r *Report) require(what, want, got string, met bool) {
	r.Lines = append(r.Lines, Line{what, want, got, met})
}

// note enters a figure of which nothing is required.
func (r *Report) note(what, got string) { r.require(what, "", got, true) }

func (r *Report) exactly(what string, got, want int) {
	r.require(what, strconv.Itoa(want), strconv.Itoa(got), got == want)
}

func (r *Report) atMost(what string, got, want int) {
	r.require(what, "at most "+strconv.Itoa(want), strconv.Itoa(got), got <= want)
}

func (r *Report) within(what string, got, want time.Duration) {
	r.require(what, "within "+short(want), short(got), got <= want)
}

// below requires that a size in bytes is within a bound.
func (r *Report) below(what string, got, bound int64) {
	const mib = 1 << 20
	r.require(what, fmt.Sprintf("within %.0f MiB", float64(bound)/mib), fmt.Sprintf("%.1f MiB", float64(got)/mib), got <= bound)
}

// times requires that what took a multiple of a unit; the margin widens what
// the multiple is over the best one there could be.
func (r *Report) times(what string, got, unit time.Duration, best, bound, margin float64) {
	bound = best + (bound-best)*margin
	ratio := float64(got) / float64(unit)
	r.require(what, fmt.Sprintf("within %.1f times %s", bound, short(unit)), fmt.Sprintf("%.2f times", ratio), ratio <= bound)
}

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
