package admin

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"gopkg.in/yaml.v3"
)

// series are the labels of each metric that /metrics has, and the values of each
// label. What a scrape adds is among them.
func series(t *testing.T) map[string]map[string][]string {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{options(true)}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string][]string{"up": {"job": nil, "instance": nil}}
	for _, f := range families {
		names := []string{f.GetName()}
		if f.GetMetric()[0].GetHistogram() != nil {
			names = append(names, names[0]+"_bucket", names[0]+"_count", names[0]+"_sum")
		}
		for _, name := range names {
			labels := map[string][]string{"job": nil, "instance": nil}
			if strings.HasSuffix(name, "_bucket") {
				labels["le"] = nil
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
				}
			}
			all[name] = labels
		}
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(?:[a-z_]+:)?(?:ringfence|process|go)_[a-z0-9_]+(?::[a-z0-9_]+)?|\bup\b`)
	selector   = regexp.MustCompile(`([a-z0-9_:]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z]+)(?:=~|!~|!=|=)"([^"]*)"`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
)

// faults tells what an expression asks of metrics that they have not.
func faults(expr string, all map[string]map[string][]string) (out []string) {
	names := metricName.FindAllString(grouping.ReplaceAllString(quoted.ReplaceAllString(expr, ""), ""), -1)
	if len(names) == 0 {
		out = append(out, "no metric")
	}
	known := map[string]bool{}
	for _, name := range names {
		if all[name] == nil {
			out = append(out, "no metric "+name)
		}
		for label := range all[name] {
			known[label] = true
		}
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			values, ok := all[s[1]][m[1]]
			if !ok {
				out = append(out, s[1]+" has no label "+m[1])
			}
			for value := range strings.SplitSeq(m[2], "|") {
				if len(values) > 0 && !slices.Contains(values, value) {
					out = append(out, s[1]+" has no "+m[1]+" "+value)
				}
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ", ") {
			if !known[label] {
				out = append(out, "nothing has the label "+label)
			}
		}
	}
	return out
}

func TestFaults(t *testing.T) {
	all := map[string]map[string][]string{"ringfence_a_total": {"of": {"x", "y"}, "job": nil}}
	for expr, want := range map[string]string{
		`sum by (of) (rate(ringfence_a_total{of=~"x|y", job="$job"}[5m])) > 1`: "",
		`1 + 1`:                           "no metric",
		`rate(ringfence_b_total[5m])`:     "no metric ringfence_b_total",
		`job:ringfence_a:rate5m`:          "no metric job:ringfence_a:rate5m",
		`ringfence_a_total{in="x"}`:       "ringfence_a_total has no label in",
		`ringfence_a_total{of!~"x|z"}`:    "ringfence_a_total has no of z",
		`sum by (in) (ringfence_a_total)`: "nothing has the label in",
	} {
		if got := strings.Join(faults(expr, all), "; "); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../docs/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func rules(t *testing.T, path string) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(read(t, path))))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// What is recorded, alerted on and drawn is made of metrics that there are.
func TestDocsNameWhatThereIs(t *testing.T) {
	all := series(t)
	for _, r := range rules(t, "rules.yaml") {
		for _, f := range faults(r.Expr, all) {
			t.Errorf("rule %s: %s", r.Record, f)
		}
		// The labels that it keeps come first in its name.
		level, _, _ := strings.Cut(r.Record, ":")
		labels := map[string][]string{}
		for label := range strings.SplitSeq(level, "_") {
			labels[label] = nil
			if label == "outcome" {
				labels[label] = all["ringfence_requests_total"][label]
			}
		}
		all[r.Record] = labels
	}
	for _, r := range rules(t, "alerts.yaml") {
		for _, f := range faults(r.Expr, all) {
			t.Errorf("alert %s: %s", r.Alert, f)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.For == "" ||
			!slices.Contains([]string{"page", "ticket"}, r.Labels["severity"]) {
			t.Errorf("alert %s lacks a summary, a description, a time or a severity", r.Alert)
		}
	}
	d := dashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			for _, f := range faults(target.Expr, all) {
				t.Errorf("panel %s: %s", p.Title, f)
			}
		}
	}
	for _, v := range d.Templating.List {
		for _, name := range metricName.FindAllString(v.Query, -1) {
			if all[name] == nil {
				t.Errorf("variable %s: no metric %s", v.Name, name)
			}
		}
	}
}

type panel struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ Expr, LegendFormat string }
}

type board struct {
	Panels     []panel
	Templating struct {
		List []struct{ Name, Query string }
	}
}

func dashboard(t *testing.T) (b board) {
	t.Helper()
	if err := json.Unmarshal(read(t, "grafana.json"), &b); err != nil {
		t.Fatal(err)
	}
	return b
}

// Panels say what they show, have a place of their own, and use the variables
// that there are.
func TestDashboard(t *testing.T) {
	d := dashboard(t)
	variables := map[string]bool{"__rate_interval": true}
	for _, v := range d.Templating.List {
		variables[v.Name] = true
	}
	places, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("panel %s has the id %d of another", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := places[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %s is over %q, or over the edge", p.Title, other)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && (p.Description == "" || len(p.Targets) == 0) {
			t.Errorf("panel %s has no description, or shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				if !variables[v[1]] {
					t.Errorf("panel %s: no variable %s among %v", p.Title, v[0], slices.Sorted(maps.Keys(variables)))
				}
			}
		}
	}
}
