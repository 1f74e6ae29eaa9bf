package load_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ringfence/loadtest/load"
	"ringfence/loadtest/origin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, s origin.Script) *origin.Origin {
	t.Helper()
	o, err := origin.Start(origin.Options{Script: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	return o
}

func plan(o *origin.Origin, rate float64, d time.Duration) load.Plan {
	return load.Plan{
		URL:  func(i int) string { return fmt.Sprintf("http://%s/%d", o.Addr(), i%10) },
		Rate: rate, Duration: d,
	}
}

func TestRateAndOutcomes(t *testing.T) {
	o := start(t, func(r origin.Request) origin.Answer {
		switch r.Target {
		case "/0":
			return origin.Answer{Status: 503}
		case "/1":
			return origin.Answer{Size: 10, Cut: true, CutAfter: 5}
		}
		return origin.Answer{Size: 10}
	})
	r, err := load.Run(context.Background(), plan(o, 500, 400*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"200": 160, "503": 20, load.CutShort: 20}; !maps.Equal(r.Outcomes, want) {
		t.Errorf("outcomes %v, want %v", r.Outcomes, want)
	}
	if r.Sent != 200 || r.Lost() != 40 || r.Took < 390*time.Millisecond {
		t.Errorf("sent %d, lost %d, took %s", r.Sent, r.Lost(), r.Took)
	}
	if r.Percentile(0) > r.Percentile(50) || r.Percentile(50) > r.Percentile(100) || r.Percentile(50) == 0 {
		t.Errorf("percentiles %s %s %s", r.Percentile(0), r.Percentile(50), r.Percentile(100))
	}
	var b strings.Builder
	if _, err := r.WriteTo(&b); err != nil || !strings.Contains(b.String(), "\n200       160\n") {
		t.Errorf("printed %q, %v", b.String(), err)
	}
}

// One worker is busy with each answer for 50 ms, and 10 requests fall due in
// that time: what they wait counts.
func TestLatencyCountsFromTheIntendedStart(t *testing.T) {
	o := start(t, func(origin.Request) origin.Answer { return origin.Answer{Delay: 50 * time.Millisecond} })
	p := plan(o, 200, 50*time.Millisecond)
	p.Workers = 1
	r, err := load.Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 10 || r.Late < 8 || r.Percentile(100) < 400*time.Millisecond {
		t.Errorf("sent %d, late %d, longest %s", r.Sent, r.Late, r.Percentile(100))
	}
}

func TestEnds(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	o := start(t, func(origin.Request) origin.Answer { return origin.Answer{Hold: hold} })
	p := plan(o, 100, 50*time.Millisecond)
	p.Timeout = 50 * time.Millisecond
	r, err := load.Run(context.Background(), p)
	if err != nil || r.Outcomes[load.Timeout] != 5 {
		t.Errorf("outcomes %v, %v", r.Outcomes, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r, err := load.Run(ctx, plan(o, 1, time.Hour)); err != nil || r.Lost() != r.Sent {
		t.Errorf("canceled: %+v, %v", r, err)
	}
	o.Stop()
	r, err = load.Run(context.Background(), plan(o, 100, 50*time.Millisecond))
	if err != nil || r.Outcomes[load.Refused] != 5 {
		t.Errorf("outcomes %v, %v", r.Outcomes, err)
	}
	if _, err := load.Run(ctx, load.Plan{}); err == nil {
		t.Error("empty plan runs")
	}
}
