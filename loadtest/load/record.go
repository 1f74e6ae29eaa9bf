package load

import (
	"sync"
	"time"

	"ringfence/loadtest/result"
)

// shards are how many parts a record has, for workers on several cores.
const shards = 8

// record grows while a plan is run. Workers add to its shards, and one goroutine
// gathers them from time to time.
type record struct {
	shards   [shards]shard
	phase    result.Phase
	interval time.Duration
	progress func(result.Tick)
	last     time.Time
}

// shard is what came since it was gathered.
type shard struct {
	mu       sync.Mutex
	tick     result.Tick
	latency  result.Histogram
	first    result.Histogram
	outcomes map[string]int
	example  error
	late     int
	busy     int
}

func newRecord(p Plan) *record {
	r := &record{
		phase: result.Phase{Outcomes: map[string]int{}}, progress: p.Progress,
		// At most 500 moments are kept of a phase that ends by its duration.
		interval: max(p.Duration/500, 100*time.Millisecond),
	}
	if r.progress == nil {
		r.progress = func(result.Tick) {}
	}
	for i := range r.shards {
		r.shards[i].outcomes = map[string]int{}
	}
	return r
}

// add enters what came of a request that was due then.
func (s *shard) add(due time.Time, a answer, err error, late, busy bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick.Sent++
	s.outcomes[outcome(a.status, err)]++
	if late {
		s.late++
	}
	if busy {
		s.busy++
	}
	if err != nil {
		s.tick.Classes[0]++
		if s.example == nil {
			s.example = err
		}
		return
	}
	s.latency.Add(now.Sub(due))
	s.first.Add(a.first.Sub(due))
	s.tick.Classes[min(max(a.status/100, 1), 5)]++
	s.tick.Bytes += a.bytes
	if a.cached != untold {
		s.tick.Told++
	}
	if a.cached == hit {
		s.tick.Hits++
	}
}

// follow gathers until all workers are done.
func (r *record) follow(start time.Time, done <-chan struct{}) {
	r.last = start
	t := time.NewTicker(r.interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.gather(start)
		case <-done:
			r.gather(start)
			return
		}
	}
}

func (r *record) gather(start time.Time) {
	now := time.Now()
	tick := result.Tick{At: now.Sub(start).Seconds(), Seconds: now.Sub(r.last).Seconds()}
	r.last = now
	var latency result.Histogram
	for i := range r.shards {
		r.shards[i].moveTo(&r.phase, &tick, &latency)
	}
	tick.P50, tick.P99, tick.Max = micros(latency, 50), micros(latency, 99), micros(latency, 100)
	r.phase.Latency.Merge(latency)
	if n := len(r.phase.Series); n > 0 && tick.Seconds < r.interval.Seconds()/2 {
		// The end, right after the last moment: too short for figures of its own.
		r.phase.Series[n-1] = r.phase.Series[n-1].With(tick)
	} else {
		r.phase.Series = append(r.phase.Series, tick)
	}
	r.progress(tick)
}

func micros(h result.Histogram, p float64) float64 {
	return float64(h.Percentile(p)) / float64(time.Microsecond)
}

// moveTo empties the shard.
func (s *shard) moveTo(p *result.Phase, tick *result.Tick, latency *result.Histogram) {
	s.mu.Lock()
	defer s.mu.Unlock()
	latency.Merge(s.latency)
	p.First.Merge(s.first)
	for name, n := range s.outcomes {
		p.Outcomes[name] += n
	}
	if p.Example == "" && s.example != nil {
		p.Example = s.example.Error()
	}
	p.Late += s.late
	p.Busy += s.busy
	p.Sent += s.tick.Sent
	p.Bytes += s.tick.Bytes
	p.Hits += s.tick.Hits
	p.Told += s.tick.Told
	tick.Sent += s.tick.Sent
	tick.Bytes += s.tick.Bytes
	tick.Hits += s.tick.Hits
	tick.Told += s.tick.Told
	for i, n := range s.tick.Classes {
		tick.Classes[i] += n
	}
	s.tick, s.late, s.busy, s.example = result.Tick{}, 0, 0, nil
	clear(s.outcomes)
	s.latency.Reset()
	s.first.Reset()
}
