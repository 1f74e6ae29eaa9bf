package scenario

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ringfence/loadtest/result"
)

// threshold is a condition on what came of a phase.
type threshold struct {
	text   string
	metric metric
	op     string
	bound  float64
}

// unit is what a metric counts in.
type unit uint8

const (
	number  unit = iota
	ratio        // 0 to 1, also written in percent
	seconds      // a duration
)

// metric is a figure of a phase.
type metric struct {
	unit   unit
	origin bool // it comes from the origin's counts
	of     func(result.Phase) (float64, bool)
}

var (
	conditionPattern  = regexp.MustCompile(`^([a-z0-9_.]+)\s*(<=|>=|<|>|=)\s*([0-9.]+)\s*(%|[a-zµ]*)$`)
	percentilePattern = regexp.MustCompile(`^(first_)?p([0-9]+(?:\.[0-9]+)?)$`)
	outcomePattern    = regexp.MustCompile(`^(?:status_([1-5][0-9][0-9])|(refused|canceled|timeout|reset|cut_short|wrong|failed))$`)
)

// Metrics says what thresholds may be on.
const Metrics = "p50 (any percentile), first_p50 (to the first byte), mean, max, errors, error_ratio, rate, sent, late, " +
	"hit_ratio, status_503 (any), refused, timeout, reset, cut_short, wrong, failed, origin_requests, origin_keys, " +
	"origin_requests_per_key, origin_peak_per_key"

// parseThreshold reads a condition such as "p99 < 5ms".
func parseThreshold(text string) (threshold, error) {
	part := conditionPattern.FindStringSubmatch(strings.TrimSpace(text))
	if part == nil {
		return threshold{}, fmt.Errorf("threshold %q: want a figure, one of < <= = >= >, and a number, as in p99 < 5ms", text)
	}
	m, ok := metricOf(part[1])
	if !ok {
		return threshold{}, fmt.Errorf("threshold %q: no figure is called %q; there are %s", text, part[1], Metrics)
	}
	bound, err := m.unit.parse(part[3], part[4])
	if err != nil {
		return threshold{}, fmt.Errorf("threshold %q: %w", text, err)
	}
	return threshold{strings.TrimSpace(text), m, part[2], bound}, nil
}

func metricOf(name string) (metric, bool) {
	counts := func(of func(result.Phase) int) metric {
		return metric{of: func(p result.Phase) (float64, bool) { return float64(of(p)), true }}
	}
	atOrigin := func(of func(result.Origin) int) metric {
		return metric{origin: true, of: func(p result.Phase) (float64, bool) {
			if p.Origin == nil {
				return 0, false
			}
			return float64(of(*p.Origin)), true
		}}
	}
	switch name {
	case "mean":
		return latency(func(p result.Phase) time.Duration { return p.Latency.Mean() }), true
	case "max":
		return latency(func(p result.Phase) time.Duration { return p.Latency.Percentile(100) }), true
	case "errors":
		return counts(result.Phase.Lost), true
	case "error_ratio":
		return metric{unit: ratio, of: func(p result.Phase) (float64, bool) { return float64(p.Lost()) / float64(p.Sent), p.Sent > 0 }}, true
	case "rate":
		return metric{of: func(p result.Phase) (float64, bool) { return p.Rate(), true }}, true
	case "sent":
		return counts(func(p result.Phase) int { return p.Sent }), true
	case "late":
		return counts(func(p result.Phase) int { return p.Late }), true
	case "hit_ratio":
		return metric{unit: ratio, of: result.Phase.HitRatio}, true
	case "origin_requests":
		return atOrigin(func(o result.Origin) int { return o.Requests }), true
	case "origin_keys":
		return atOrigin(func(o result.Origin) int { return o.Keys }), true
	case "origin_requests_per_key":
		return atOrigin(func(o result.Origin) int { return o.PerKey }), true
	case "origin_peak_per_key":
		return atOrigin(func(o result.Origin) int { return o.Peak }), true
	}
	if part := percentilePattern.FindStringSubmatch(name); part != nil {
		p, err := strconv.ParseFloat(part[2], 64)
		return latency(func(phase result.Phase) time.Duration {
			if part[1] != "" {
				return phase.First.Percentile(p)
			}
			return phase.Latency.Percentile(p)
		}), err == nil && p <= 100
	}
	if part := outcomePattern.FindStringSubmatch(name); part != nil {
		outcome := part[1] + strings.ReplaceAll(part[2], "_", " ")
		return counts(func(p result.Phase) int { return p.Outcomes[outcome] }), true
	}
	return metric{}, false
}

// latency is a metric of the answers, if there are any.
func latency(of func(result.Phase) time.Duration) metric {
	return metric{unit: seconds, of: func(p result.Phase) (float64, bool) { return of(p).Seconds(), p.Answered() > 0 }}
}

func (u unit) parse(digits, suffix string) (float64, error) {
	if u == seconds {
		d, err := time.ParseDuration(digits + suffix)
		if err != nil {
			return 0, fmt.Errorf("want a duration such as 5ms, got %q", digits+suffix)
		}
		return d.Seconds(), nil
	}
	n, err := strconv.ParseFloat(digits, 64)
	switch {
	case err == nil && suffix == "":
		return n, nil
	case err == nil && suffix == "%" && u == ratio:
		return n / 100, nil
	}
	return 0, fmt.Errorf("want a number, got %q", digits+suffix)
}

func (u unit) show(value float64) string {
	switch u {
	case seconds:
		return result.Short(time.Duration(value * float64(time.Second)))
	case ratio:
		return strconv.FormatFloat(value, 'f', 4, 64)
	}
	return strconv.FormatFloat(math.Round(value*100)/100, 'f', -1, 64)
}

// judge holds a phase against the condition.
func (t threshold) judge(p result.Phase) result.Threshold {
	v := result.Threshold{Phase: p.Name, Text: t.text}
	value, ok := t.metric.of(p)
	if !ok {
		v.Shown = "not told by any answer"
		return v
	}
	v.Value, v.Shown = value, t.metric.unit.show(value)
	switch t.op {
	case "<":
		v.Met = value < t.bound
	case "<=":
		v.Met = value <= t.bound
	case "=":
		v.Met = value == t.bound
	case ">=":
		v.Met = value >= t.bound
	case ">":
		v.Met = value > t.bound
	}
	return v
}
