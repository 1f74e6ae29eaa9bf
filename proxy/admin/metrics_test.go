package admin

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Who scrapes by protocol buffers gets each duration as a native histogram, and
// the classic one beside it.
func TestNativeHistograms(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{options(true)})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			h := m.GetHistogram()
			if h == nil {
				continue
			}
			if h.GetSchema() != 3 || len(h.GetBucket()) != len(powers) || len(h.GetPositiveSpan()) == 0 && h.GetSampleCount() > 0 {
				t.Errorf("%s is not of both kinds: %v", f.GetName(), m)
			}
			if f.GetName() != "ringfence_upstream_response_seconds" {
				continue
			}
			// A quarter of a second is the bound of the bucket with index -16.
			seen++
			if s := h.GetPositiveSpan(); len(s) != 1 || s[0].GetOffset() != -16 || s[0].GetLength() != 1 || h.GetPositiveDelta()[0] != 1 {
				t.Errorf("%v", h)
			}
		}
	}
	if seen != 1 {
		t.Errorf("%d histograms of one upstream", seen)
	}
}
