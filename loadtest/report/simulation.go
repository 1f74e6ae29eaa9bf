package report

import (
	"fmt"
	"html/template"
	"io"
	"text/tabwriter"

	"ringfence/loadtest/simulate"
)

// mebi is a size in MiB.
func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// WriteSimulationText writes what a simulation came to as tables.
func WriteSimulationText(w io.Writer, r simulate.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	put := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) } // an error shows at the end
	put("%d requests, %d cacheable, for %d keys, which take %s MiB in all\n\n", r.Requests, r.Cacheable, r.Keys, digits(mebi(r.Bytes)))
	put("policy\tTTL\tmemory, MiB\thits\tbytes from the cache\tmisses\n")
	for _, c := range r.Caches {
		put("%s\t%s\t%s\t%.2f %%\t%.2f %%\t%d\n", c.Policy, c.TTL, digits(mebi(c.Memory)), 100*c.HitRatio, 100*c.ByteRatio, c.Misses)
	}
	put("\nservers\tthe busiest over the mean\tbehind the last cache\trequests of each\tbehind the last cache\n")
	for _, l := range r.Rings {
		put("%d\t%.3f\t%.3f\t%s\t%s\n", l.Servers, simulate.Busiest(l.All), simulate.Busiest(l.Misses), ends(l.All), ends(l.Misses))
	}
	return t.Flush()
}

// ends are the most and the least of a list in order.
func ends(list []int) string { return fmt.Sprintf("%d to %d", list[len(list)-1], list[0]) }

// WriteSimulationHTML writes the same as a page with pictures.
func WriteSimulationHTML(w io.Writer, name string, r simulate.Result) error {
	hits := chart{title: "Hit ratio by size of the cache", x: "memory, MiB", y: "hits, % of the requests", yMax: 100, logX: true}
	for _, c := range r.Caches {
		text := fmt.Sprintf("%s, %s", c.Policy, c.TTL)
		if n := len(hits.lines); n == 0 || hits.lines[n-1].name != text {
			hits.lines = append(hits.lines, line{name: text, class: colour(n)})
		}
		l := &hits.lines[len(hits.lines)-1]
		l.at = append(l.at, point{mebi(c.Memory), 100 * c.HitRatio})
	}
	figures := make([]figure, 1, 1+len(r.Rings))
	figures[0] = hits.figure()
	for _, l := range r.Rings {
		c := chart{title: fmt.Sprintf("Load of %d servers, the busiest first", l.Servers), x: "server", y: "% of the mean"}
		for i, list := range []struct {
			name string
			of   []int
		}{{"all requests", l.All}, {"behind the last cache", l.Misses}} {
			sum := 0
			for _, n := range list.of {
				sum += n
			}
			shown := line{name: list.name, class: colour(i)}
			for n, count := range list.of {
				shown.at = append(shown.at, point{float64(n + 1), 100 * float64(count) * float64(len(list.of)) / float64(max(sum, 1))})
			}
			c.lines = append(c.lines, shown)
		}
		figures = append(figures, c.figure())
	}
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	if _, err := t.New("simulation").Parse(simulationText); err != nil {
		return err
	}
	return t.ExecuteTemplate(w, "simulation", struct {
		Name    string
		Result  simulate.Result
		Figures []figure
	}{name, r, figures})
}

// simulationText is the page, with the parts of the other one.
const simulationText = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simulation: {{.Name}}</title>
{{template "style"}}
<h1>Simulation: {{.Name}}</h1>
<p>{{.Result.Requests}} requests, {{.Result.Cacheable}} of them cacheable, for {{.Result.Keys}} keys.</p>
<div class="wide"><table>
<tr><th>policy</th><th>TTL</th><th>memory, bytes</th><th>hits, % of the requests</th><th>bytes from the cache, %</th><th>misses</th></tr>
{{range .Result.Caches}}<tr><th>{{.Policy}}</th><td>{{.TTL}}</td><td>{{.Memory}}</td><td>{{printf "%.2f" .Percent}}</td><td>{{printf "%.2f" .BytePercent}}</td><td>{{.Misses}}</td></tr>
{{end}}</table></div>
<h2>Pictures</h2>
{{template "pictures" .Figures}}
</html>
`
