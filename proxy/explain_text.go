package proxy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"ringfence/proxy/upstream"
)

// Text returns the explanation for people: lines of at most some 120 characters,
// the outcome first.
func (x *Explanation) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", visible(x.Method), visible(x.URL))
	if !x.Live {
		b.WriteString("explained from the configuration alone: nothing is stored, every server is well\n")
	}
	fmt.Fprintf(&b, "\n%s: %s\n", strings.ToUpper(string(x.Outcome)), x.Why)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line(w, x.Reason != "", "  reason", x.Reason)
	line(w, x.Status != 0, "  status", strconv.Itoa(x.Status))
	line(w, x.CacheStatus != "", "  Cache-Status", x.CacheStatus)
	line(w, x.Client != "", "  client", x.Client)
	for _, note := range x.Notes {
		line(w, true, "  note", note)
	}
	flush(w)
	if x.Route != nil {
		cached := "caches"
		switch {
		case x.Route.Observe:
			cached = "observes"
		case !x.Route.Cache:
			cached = "does not cache"
		}
		fmt.Fprintf(&b, "\nroute %s to upstream %s, %s\n", x.Route.Name, x.Route.Upstream, cached)
	}
	x.Key.text(&b)
	x.Stored.text(&b)
	x.Shared.text(&b)
	for _, m := range x.Marks {
		fmt.Fprintf(&b, "\nremembered: %s (%s), for another %s\n", m.Mark, m.Reason, inSeconds(m.Until.Sub(x.Time).Seconds()))
	}
	x.Placement.text(&b)
	return b.String()
}

// line writes one line of a table, if there is anything to say.
func line(w *tabwriter.Writer, says bool, name, value string) {
	if says {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", name, visible(value)) // see flush
	}
}

// visible returns s as it is where it can be shown so, else quoted: a client's
// bytes shall not move the cursor.
func visible(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// flush ends a table. What is behind it is a strings.Builder, which does not fail.
func flush(w *tabwriter.Writer) { _ = w.Flush() }

func (k *ExplainedKey) text(b *strings.Builder) {
	if k == nil {
		return
	}
	fmt.Fprintf(b, "\nkey %s\n", k.Hash)
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, p := range k.Parts {
		p.text(w, "  ")
	}
	for _, p := range k.Variant {
		p.text(w, "  vary ")
	}
	flush(w)
}

func (p ExplainedPart) text(w *tabwriter.Writer, indent string) {
	value := p.Value
	switch {
	case p.Absent:
		value = "(absent)"
	case value == "":
		value = "(empty)"
	}
	line(w, true, indent+p.Name, value)
}

func (o *ExplainedObject) text(b *strings.Builder) {
	if o == nil {
		return
	}
	fmt.Fprintf(b, "\nstored in %s: status %d, %d bytes", o.Tier, o.Status, o.Bytes)
	if len(o.Codings) > 0 {
		fmt.Fprintf(b, ", also as %s", strings.Join(o.Codings, ", "))
	}
	b.WriteByte('\n')
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, f := range o.Fields {
		line(w, true, "  upstream said", f)
	}
	line(w, len(o.Tags) > 0, "  tags", strings.Join(o.Tags, ", "))
	line(w, len(o.Groups) > 0, "  groups", strings.Join(o.Groups, ", "))
	line(w, o.NoCache, "  no-cache", "it is validated before each use")
	line(w, o.MustRevalidate, "  must-revalidate", "it is not used stale, whatever a client allows")
	line(w, o.Purged != nil, "  purged", at(o.Purged)+": it is not used again")
	line(w, o.Expired != nil, "  soft purge", at(o.Expired)+": it is stale since then")
	line(w, o.Failing, "  upstream", "it failed when it was last asked about this")
	o.Freshness.text(w)
	flush(w)
}

func (f *ExplainedFreshness) text(w *tabwriter.Writer) {
	sum := func(name, format string, args ...any) { line(w, true, "  "+name, fmt.Sprintf(format, args...)) }
	sum("date", "%s, received %s", f.Date.UTC().Format(time.RFC3339), f.ResponseTime.UTC().Format(time.RFC3339))
	sum("apparent age", "%s, from Date", inSeconds(f.ApparentAge))
	sum("corrected age", "%s = Age %s + delay %s", inSeconds(f.CorrectedAge), inSeconds(f.AgeValue), inSeconds(f.ResponseDelay))
	sum("current age", "%s = the greater of these %s + resident time %s", inSeconds(f.Age), inSeconds(f.InitialAge), inSeconds(f.ResidentTime))
	sum("lifetime", "%s, from %s", inSeconds(f.Lifetime), f.From)
	fresh := "fresh for another " + inSeconds(f.TTL)
	if f.TTL <= 0 {
		fresh = "stale since " + inSeconds(-f.TTL)
	}
	sum("freshness", "%s", fresh)
	sum("stale windows", "%s while it is revalidated, %s while the upstream fails", inSeconds(f.StaleWhileRevalidate), inSeconds(f.StaleIfError))
}

func (p *ExplainedPlacement) text(b *strings.Builder) {
	if p == nil {
		return
	}
	fmt.Fprintf(b, "\nservers of %s, balance %s", p.Upstream, p.Balance)
	switch {
	case !p.Keyed:
		b.WriteString(": any of them, not by the key")
	case p.Value != "":
		fmt.Fprintf(b, " by %s %s at %s, in the order in which they are asked", p.By, visible(p.Value), p.Hash)
	default:
		fmt.Fprintf(b, " by key %s, in the order in which they are asked", p.Hash)
	}
	b.WriteByte('\n')
	if p.Panicking {
		b.WriteString("  too few servers are fit: health is disregarded\n")
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for i, s := range p.Steps {
		backup := ""
		if s.Backup {
			backup = ", backup"
		}
		_, _ = fmt.Fprintf(w, "  %d.\t%s\t%s\tweight %d%s\t%s\t%d in flight\t%s\n", i+1, s.ID, s.Address, s.Weight, backup, s.Standing, s.InFlight, roomOf(s))
	}
	flush(w)
	if p.More > 0 {
		fmt.Fprintf(b, "  and %d more\n", p.More)
	}
	if len(p.Steps) == 0 {
		b.WriteString("  there are none\n")
	}
}

// roomOf says in words whether a server takes the request.
func roomOf(s upstream.Step) string {
	switch s.Room {
	case upstream.OverShare:
		return fmt.Sprintf("passed over: its share of the load is %d", s.Capacity)
	case upstream.IsFull:
		return fmt.Sprintf("passed over: it may have %d, and %d wait", s.Limit, s.Queued)
	case upstream.IsOut:
		return "gets no requests: " + s.Reason
	}
	if s.Share < 1 {
		return fmt.Sprintf("takes it, at %.0f%% of its share", 100*s.Share)
	}
	return "takes it"
}

func at(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// inSeconds writes a number of seconds, without a fraction that says nothing.
func inSeconds(s float64) string {
	return strconv.FormatFloat(math.Round(s*1000)/1000, 'f', -1, 64) + "s"
}
