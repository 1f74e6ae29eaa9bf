package result

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Short is a duration to three digits or so, for people.
func Short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

// WriteText writes what came of a run, for people to read.
func (r Run) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "phase\tsent\tlate\trate\terrors\tp50\tp90\tp99\tp99.9\tmax\thits\torigin") // an error shows at the end
	for _, p := range r.Phases {
		_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%.0f/s\t%d", p.Name, p.Sent, p.Late, p.Rate(), p.Lost())
		for _, at := range []float64{50, 90, 99, 99.9, 100} {
			_, _ = fmt.Fprintf(t, "\t%s", Short(p.Latency.Percentile(at)))
		}
		_, _ = fmt.Fprintf(t, "\t%s\t%s\n", p.hits(), p.origin())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range r.Phases {
		if _, err := fmt.Fprintf(w, "%s: %s\n", p.Name, p.outcomes()); err != nil {
			return err
		}
	}
	for _, one := range r.Thresholds {
		word := "met"
		if !one.Met {
			word = "FAILED"
		}
		if _, err := fmt.Fprintf(w, "%s: %s: %s: %s\n", one.Phase, one.Text, one.Shown, word); err != nil {
			return err
		}
	}
	for _, why := range r.Void {
		if _, err := fmt.Fprintf(w, "VOID: %s\n", why); err != nil {
			return err
		}
	}
	return nil
}

func (p Phase) hits() string {
	if h, ok := p.HitRatio(); ok {
		return fmt.Sprintf("%.2f %%", 100*h)
	}
	return "-"
}

func (p Phase) origin() string {
	if p.Origin == nil {
		return "-"
	}
	return strconv.Itoa(p.Origin.Requests)
}

func (p Phase) outcomes() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(p.Outcomes)) {
		list = append(list, fmt.Sprintf("%s %d", name, p.Outcomes[name]))
	}
	if p.Example != "" {
		list = append(list, "such as: "+p.Example)
	}
	return strings.Join(list, ", ")
}
