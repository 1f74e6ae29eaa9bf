// Package load sends requests and measures the answers. In an open loop they are sent
// at a rate, whatever the answers do, and each is measured from the moment it was
// meant to be sent, so that a server which stalls cannot hide the requests it kept
// from being sent. In a closed loop clients wait for answers, which tells the highest
// rate that a server reaches and nothing of what its users would wait.
package load

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"ringfence/loadtest/result"
)

// lateBy is how far behind its time a request may be sent before it counts as late.
const lateBy = 10 * time.Millisecond

// client sends requests and reads the answers.
type client interface {
	// do returns what came of a request by the deadline.
	do(r *Request, deadline time.Time) (answer, error)
	close()
}

// answer is what is seen of one.
type answer struct {
	status int
	cached cached
	first  time.Time // when its first byte came
	bytes  int64     // of its body
}

// Run sends the plan's requests and waits for their answers. When ctx ends no more are
// sent, and those under way are broken off. The error says that the plan cannot be
// run; failed requests are counted in the result.
func Run(ctx context.Context, p Plan) (result.Phase, error) {
	p, to, err := p.checked()
	if err != nil {
		return result.Phase{}, err
	}
	var c client
	if p.HTTP2 {
		c = newStreams(ctx, p, to)
	} else {
		c = newConnections(ctx, p, to)
	}
	defer c.close()
	r := &run{plan: p, client: c, record: newRecord(p), start: time.Now()}
	if p.open() {
		r.arrivals, r.alarm = newArrivals(p), newAlarm()
		defer r.alarm.close()
	}
	var workers sync.WaitGroup
	for i := range p.workers() {
		workers.Go(func() { r.work(ctx, &r.record.shards[i%shards]) })
	}
	done := make(chan struct{})
	go func() {
		workers.Wait()
		close(done)
	}()
	r.record.follow(r.start, done)
	phase := r.record.phase
	phase.Seconds = time.Since(r.start).Seconds()
	if p.open() {
		phase.Open, phase.Due = true, phase.Sent+int(r.skipped.Load())+r.arrivals.left()
	}
	return phase, nil
}

// run is shared by its workers.
type run struct {
	plan     Plan
	client   client
	record   *record
	start    time.Time
	arrivals *arrivals    // nil in a closed loop
	turn     sync.Mutex   // of the worker that waits until the next request is due
	alarm    *alarm       // which wakes that one
	taken    atomic.Int64 // requests in a closed loop
	skipped  atomic.Int64 // requests that were due, and were not sent
}

func (r *run) work(ctx context.Context, to *shard) {
	chance := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	for {
		i, at, busy, ok := r.next(ctx, chance)
		if !ok {
			return
		}
		due, sent := r.start.Add(at), time.Now()
		late := sent.Sub(due) > lateBy
		request := r.plan.Request(i, at, chance)
		a, err := r.client.do(&request, sent.Add(r.plan.Timeout))
		if err != nil && ctx.Err() != nil {
			err = context.Canceled
		}
		to.add(due, a, err, late, busy && late)
	}
}

// next returns the number of a worker's next request when it is due, and when that is
// after the start. It is busy where no worker was there in time.
func (r *run) next(ctx context.Context, chance *rand.Rand) (i int, at time.Duration, busy, ok bool) {
	if r.arrivals != nil {
		return r.nextArrival(ctx)
	}
	if ctx.Err() != nil || r.plan.Think > 0 && !sleepUntil(ctx, time.Now().Add(time.Duration(chance.ExpFloat64()*float64(r.plan.Think)))) {
		return 0, 0, false, false
	}
	i = int(r.taken.Add(1)) - 1
	at = time.Since(r.start)
	over := r.plan.Count > 0 && i >= r.plan.Count || r.plan.Duration > 0 && at >= r.plan.Duration
	return i, at, false, !over
}

// nextArrival has one worker at a time wait, which then can do so with precision.
func (r *run) nextArrival(ctx context.Context) (i int, at time.Duration, busy, ok bool) {
	r.turn.Lock()
	defer r.turn.Unlock()
	if ctx.Err() != nil {
		return 0, 0, false, false
	}
	if i, at, ok = r.arrivals.next(); !ok {
		return 0, 0, false, false
	}
	due := r.start.Add(at)
	busy = time.Since(due) > lateBy
	// What has waited for a connection for as long as a request may take once all are
	// sent, is not sent any more.
	if !r.alarm.await(ctx, due) || time.Since(r.start) > r.plan.Duration+r.plan.Timeout {
		r.skipped.Add(1)
		return 0, 0, false, false
	}
	return i, at, busy, true
}
