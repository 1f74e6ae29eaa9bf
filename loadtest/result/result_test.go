package result_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/result"
)

func TestReadsWhatItWrites(t *testing.T) {
	p := result.Phase{Name: "one", Sent: 5, Outcomes: map[string]int{"200": 2, "404": 1, "503": 1, "timeout": 1}, Hits: 1, Told: 2, Seconds: 2}
	for i := range 1000 {
		p.Latency.Add(time.Duration(i+1) * time.Millisecond)
	}
	path := filepath.Join(t.TempDir(), "run.json")
	if err := (result.Run{Name: "n", Phases: []result.Phase{p}, Thresholds: []result.Threshold{{Text: "a", Met: true}, {Text: "b"}}}).Save(path); err != nil {
		t.Fatal(err)
	}
	r, err := result.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Phases[0]
	if got.Lost() != 2 || got.Answered() != 4 || got.Rate() != 2 || got.Latency.Count() != 1000 || got.First.Count() != 0 {
		t.Errorf("%+v", got)
	}
	if d := got.Latency.Percentile(99); d < 989*time.Millisecond || d > 991*time.Millisecond {
		t.Errorf("p99 %s", d)
	}
	if ratio, ok := got.HitRatio(); ratio != 0.5 || !ok {
		t.Errorf("hit ratio %v, %v", ratio, ok)
	}
	if f := r.Failed(); len(f) != 1 || f[0].Text != "b" || r.Title() != "n" {
		t.Errorf("failed %+v, title %s", f, r.Title())
	}
}

func TestRefusesWhatIsNoRun(t *testing.T) {
	for text, want := range map[string]string{
		"":              "not what came of a run",
		`{"format":99}`: "format 99, want 1",
		`{"format":1,"phases":[{"latency":"x"}]}`: "histogram",
	} {
		if _, err := result.Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := result.Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is read")
	}
	var b bytes.Buffer
	if err := (result.Run{}).Write(&b); err != nil || !strings.Contains(b.String(), `"format": 1`) {
		t.Errorf("%s, %v", b.String(), err)
	}
}

func TestEmptyHistogram(t *testing.T) {
	var h, other result.Histogram
	h.Merge(other)
	h.Reset()
	if h.Count() != 0 || h.Percentile(50) != 0 || h.Mean() != 0 {
		t.Error("it has something")
	}
	h.Add(2 * time.Hour)
	h.Add(0)
	other.Merge(h)
	if other.Count() != 2 || other.Percentile(100) < 59*time.Minute || other.Mean() == 0 {
		t.Errorf("%d, %s", other.Count(), other.Percentile(100))
	}
	other.Reset()
	if other.Count() != 0 || h.Count() != 2 {
		t.Error("they share what is counted")
	}
}
