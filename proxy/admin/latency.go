package admin

import (
	"ringfence/proxy"
	"ringfence/proxy/histogram"
)

// latency is how long requests took from their head to the head of the answer:
// the rest is up to the client.
type latency struct {
	Hits *quantiles `json:"hits"` // answers of the store; null without one
	Rest *quantiles `json:"rest"` // those for which an upstream was asked; null without one
}

// quantiles are in seconds.
type quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// latencyOf is that of the answers between two states.
func latencyOf(was, is State) latency {
	return latency{
		Hits: quantilesOf(was, is, proxy.Hit, proxy.Stale, proxy.SharedHit),
		Rest: quantilesOf(was, is, proxy.Revalidated, proxy.Collapsed, proxy.Missed, proxy.Passed, proxy.StoodIn, proxy.Failed),
	}
}

func quantilesOf(was, is State, outcomes ...proxy.Outcome) *quantiles {
	before, now := tookOf(was, outcomes), tookOf(is, outcomes)
	now.Less(&before)
	if now.Count() == 0 {
		return nil
	}
	return &quantiles{P50: now.Quantile(0.5), P90: now.Quantile(0.9), P99: now.Quantile(0.99)}
}

// tookOf is how long the answers of these outcomes took.
func tookOf(st State, outcomes []proxy.Outcome) (sum histogram.Snapshot) {
	all := st.Proxy.Requests.FirstByte
	for _, o := range outcomes {
		if int(o) < len(all) { // a state of nothing has none
			sum.Merge(&all[o])
		}
	}
	return sum
}
