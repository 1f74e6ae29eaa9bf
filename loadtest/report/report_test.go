package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/report"
	"ringfence/loadtest/result"
)

// run is one whose answers take so long.
func run(label string, took time.Duration, void ...string) result.Run {
	p := result.Phase{
		Name: "steady <1>", Open: true, Seconds: 10, Sent: 1000, Outcomes: map[string]int{"200": 990, "503": 10}, Start: 2,
		Hits: 500, Told: 1000, Bytes: 10 << 20, Origin: &result.Origin{Requests: 10, Keys: 10, PerKey: 1, Peak: 1},
	}
	for range 990 {
		p.Latency.Add(took)
	}
	for i := range 10 {
		p.Series = append(p.Series, result.Tick{At: float64(i + 1), Seconds: 1, Sent: 100, Classes: [6]int{0, 0, 99, 0, 0, 1}, Hits: 50, Told: 100, P50: 1000, P99: 2000})
	}
	warm := p
	warm.Name, warm.Warmup, warm.Start, warm.Origin = "fill", true, 0, nil
	return result.Run{
		Name: "s", Label: label, Seconds: 12, Phases: []result.Phase{warm, p}, Void: void,
		Thresholds: []result.Threshold{{Phase: p.Name, Text: "p99 < 1ms", Shown: "2 ms", Met: took < time.Millisecond}},
	}
}

func TestFigures(t *testing.T) {
	r := report.New([]result.Run{
		run("before", 4*time.Millisecond), run("after", 2*time.Millisecond, "too late"), run("before", 6*time.Millisecond), run("after", 2*time.Millisecond),
	})
	if len(r.Groups) != 2 || r.Groups[0].Count != 2 || len(r.Phases) != 1 || len(r.Groups[1].Void) != 1 || len(r.Groups[1].Failed) != 2 {
		t.Fatalf("%+v", r)
	}
	var b strings.Builder
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"### steady <1>\n\n| | before (2 runs) | after (2 runs) |\n|---|---:|---:|\n",
		"| answers, /s | 100 | 100 × 1.00 |\n",
		"| latency, p99, ms | 5.00 (4.00 to 6.00) | 2.00 × 0.42 (0.33 to 0.50) |\n",
		"| errors | 10 | 10 × 1.00 |\n",
		"| sent late | 0 | 0 |\n",
		"| hit ratio, % | 50.0 | 50.0 × 1.00 |\n",
		"| requests to the origin | 10 | 10 × 1.00 |\n",
		"- after is void: too late\n",
		"- before, steady <1>: `p99 < 1ms` failed: 2 ms\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got report.Report
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || got.Phases[0].Figures[3].Cells[1].Ratio.Max > 0.51 {
		t.Errorf("%v: %s", err, b.String())
	}
}

var picture = regexp.MustCompile(`(?s)<svg.*?</svg>`)

// The page needs nothing else, and its pictures are sound, whatever names there are.
func TestPage(t *testing.T) {
	lonely := result.Run{Name: "lonely", Phases: []result.Phase{{Name: "none", Sent: 1, Outcomes: map[string]int{"refused": 1}, Series: []result.Tick{{At: 1, Seconds: 1, Sent: 1, Classes: [6]int{1}}}}}}
	for name, tt := range map[string]struct {
		runs     []result.Run
		pictures int
		wants    []string
	}{
		"one":     {[]result.Run{run("<b>", time.Millisecond)}, 6, []string{"&lt;b&gt;", "steady &lt;1&gt;", ">99 %<", "latency, ms", "answers a second", ">5xx<", ">median<", "1 of 1 failed"}},
		"several": {[]result.Run{run("a", time.Microsecond), run("b", time.Hour)}, 7, []string{"Outcomes over time: b", "× is how many times", "all 1 met"}},
		"nothing": {[]result.Run{lonely}, 2, []string{"no right answer", "none"}},
	} {
		var b strings.Builder
		if err := report.New(tt.runs).WriteHTML(&b); err != nil {
			t.Fatal(err)
		}
		pictures := picture.FindAllString(b.String(), -1)
		if len(pictures) != tt.pictures {
			t.Errorf("%s: %d pictures, want %d", name, len(pictures), tt.pictures)
		}
		for _, p := range pictures {
			d := xml.NewDecoder(strings.NewReader(p))
			for {
				_, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v: %s", name, err, p)
				}
			}
			if strings.Contains(p, "NaN") || strings.Contains(p, "Inf") {
				t.Errorf("%s: %s", name, p)
			}
		}
		for _, want := range tt.wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is not in the page", name, want)
			}
		}
		if regexp.MustCompile(`(src|href|url)\s*[=(]`).MatchString(b.String()) {
			t.Errorf("%s: the page needs something else", name)
		}
	}
}
