package admin

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"ringfence/proxy/histogram"
)

// powers are the bounds of the classic buckets, 2^power seconds: every other one
// from 15 us to a millisecond, each one up to a minute. They are bounds of
// native buckets, so that nothing has to be guessed.
var powers = [...]int{-16, -14, -12, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6}

// histogram sends durations as a native histogram, and as a classic one for who
// does not know these: a scrape in the text format sees the latter alone.
func (m metrics) histogram(name, help string, s *histogram.Snapshot, labels ...label) {
	desc, values := describe(name, help, labels)
	native := make(map[int]int64)
	for i, n := range s.Counts[1:] {
		if n > 0 {
			native[histogram.Native(i+1)] = int64(n)
		}
	}
	metric := prometheus.MustNewConstNativeHistogram(desc, s.Count(), s.Sum.Seconds(), native, nil, s.Counts[0],
		histogram.Schema, histogram.Zero, time.Time{}, values...)
	classic := make([]*dto.Bucket, len(powers))
	for i, p := range powers {
		classic[i] = &dto.Bucket{UpperBound: new(math.Exp2(float64(p))), CumulativeCount: new(s.AtMost(p))}
	}
	m.ch <- both{metric, classic}
}

// both is a native histogram with classic buckets beside its own.
type both struct {
	prometheus.Metric
	classic []*dto.Bucket
}

// Write implements prometheus.Metric. When the counting began is not said:
// Prometheus sees restarts by the counts.
func (b both) Write(out *dto.Metric) error {
	if err := b.Metric.Write(out); err != nil {
		return err
	}
	out.Histogram.Bucket = b.classic
	out.Histogram.CreatedTimestamp = nil
	return nil
}
