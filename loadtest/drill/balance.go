package drill

import (
	"context"
	"time"
)

// Balance returns the drills of one proxy before five servers.
func Balance() []Drill {
	return []Drill{
		serverKilled, serverKilledCached, serverPaused, serverFlapping,
		serverSlow, serverSlowOut, serverFailing, serverResetting,
		allButOneDown, allFailing, slowStart, drained,
	}
}

// byReadiness is the check of all farms: what it is by default, but for the path.
const byReadiness = "health_check: {path: /ready}\n"

// phase lets a barrage go on for a time.
func (b *barrage) phase(ctx context.Context, d time.Duration) (span, error) {
	from := b.now()
	err := pause(ctx, d)
	return span{from, b.now()}, err
}

// since is the rest of a barrage's time.
func since(from time.Duration) span { return span{from, time.Hour} }

// calmAgain requires that latency is under twice of what it was.
func (f *farm) calmAgain(what string, before, after shots) {
	f.note("before: p50, p99", short(before.percentile(50))+", "+short(before.percentile(99)))
	f.times(what+": p99 ("+short(after.percentile(99))+")", after.percentile(99), before.percentile(99), 1, 2, f.env.Margin)
}
