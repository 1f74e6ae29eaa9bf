package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText writes tables for people to read, with what was demanded.
func WriteText(w io.Writer, tables []Table) error {
	for _, t := range tables {
		if _, err := fmt.Fprintf(w, "%s: %s, %d connections\n", t.Scenario.Name, t.Scenario, t.Connections); err != nil {
			return err
		}
		columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		_, _ = fmt.Fprintln(columns, "\tCPU us/req\tmin\tmax\tof fasthttp\tmin\tmax\treq/s\tp50\tp99\tmemory\t") // Flush tells
		floor, hasFloor := t.cell(fasthttp1)
		for _, c := range t.Cells {
			if c.Missing != "" {
				_, _ = fmt.Fprintf(columns, "%s\t-\t\t\t\t\t\t\t\t\t\t %s\n", c.Peer, c.Missing)
				continue
			}
			took := c.of(cpu)
			_, _ = fmt.Fprintf(columns, "%s\t%.2f\t%.2f\t%.2f\t", c.Peer, took.Median, took.Min, took.Max)
			if hasFloor {
				ratio := c.over(floor)
				_, _ = fmt.Fprintf(columns, "%.2f\t%.2f\t%.2f\t", ratio.Median, ratio.Min, ratio.Max)
			} else {
				_, _ = fmt.Fprint(columns, "\t\t\t")
			}
			_, _ = fmt.Fprintf(columns, "%.0f\t%.2f ms\t%.2f ms\t%.1f MiB\t\n", c.of(rate).Median,
				c.of(func(r Round) float64 { return r.P50 }).Median/1000, c.of(func(r Round) float64 { return r.P99 }).Median/1000, float64(c.Memory)/(1<<20))
		}
		if err := columns.Flush(); err != nil {
			return err
		}
		for _, v := range t.Judge() {
			if _, err := fmt.Fprintln(w, v.Text); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// WriteMarkdown writes one table of CPU time: a line for each scenario, and a column
// for each peer that was measured in any.
func WriteMarkdown(w io.Writer, tables []Table) error {
	var peers []string
	for _, p := range Peers() {
		for _, t := range tables {
			if _, ok := t.cell(p.Name); ok {
				peers = append(peers, p.Name)
				break
			}
		}
	}
	var b strings.Builder
	b.WriteString("| CPU time per request, us | " + strings.Join(peers, " | ") + " |\n|---|" + strings.Repeat("---|", len(peers)) + "\n")
	for _, t := range tables {
		b.WriteString("| " + t.Scenario.String() + " |")
		for _, p := range peers {
			if c, ok := t.cell(p); ok {
				took := c.of(cpu)
				fmt.Fprintf(&b, " %.1f (%.1f to %.1f) |", took.Median, took.Min, took.Max)
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes all rounds.
func WriteJSON(w io.Writer, tables []Table) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(tables)
}
