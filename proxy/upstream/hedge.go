package upstream

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// first sends req to the first member of its order, which has let it in. A GET
// may go to a second one while the first is silent (Dean and Barroso, "The Tail
// at Scale", 2013).
func (p *Pool) first(ctx context.Context, o *order, s *server, req *Request) result {
	latencies := o.set.plan.latencies
	if latencies == nil || req.Method != http.MethodGet || req.hasBody() || req.Upgrade != "" {
		return o.set.plan.try(ctx, s, req, o.mayGoOn())
	}
	if wait := latencies.percentile(); wait > 0 && !req.Alone && o.set.fit > 1 {
		return p.hedge(ctx, o, s, req, wait)
	}
	began := time.Now()
	r := o.set.plan.try(ctx, s, req, o.mayGoOn())
	if r.resp != nil {
		latencies.add(time.Since(began))
	}
	return r
}

// hedge sends req to s, and where that is silent for longer than wait, to the
// next member of the order, too. It gives the first result that will do, or the
// last. The other exchange is broken off.
//
// Only what the first member takes counts as a latency, and if it is broken off
// the time until then: without these the percentile would be of ever quicker
// answers, and hedge ever more of them.
func (p *Pool) hedge(ctx context.Context, o *order, s *server, req *Request, wait time.Duration) result {
	plan, quiet := o.set.plan, *req
	quiet.Interim = nil // which of the two it would be from is not known
	var runs [2]run
	results := make(chan *run, 2)
	var running sync.WaitGroup
	defer running.Wait()
	begin := func(r *run, s *server) {
		var own context.Context
		own, r.cancel = context.WithCancel(ctx)
		more := o.mayGoOn()
		running.Go(func() {
			began := time.Now()
			r.result = plan.try(own, s, &quiet, more)
			if r == &runs[0] && ctx.Err() == nil && (r.resp != nil || own.Err() != nil) {
				plan.latencies.add(time.Since(began))
			}
			results <- r
		})
	}
	begin(&runs[0], s)
	late := time.NewTimer(wait)
	defer late.Stop()
	select {
	case r := <-results:
		return r.keep()
	case <-late.C:
	}
	if !plan.budget.take() {
		return (<-results).keep()
	}
	defer plan.budget.give()
	other, ok := o.enterIfRoom()
	if !ok {
		return (<-results).keep()
	}
	p.counts.hedged.Add(1)
	begin(&runs[1], other)
	winner := <-results
	if winner.err != nil || plan.mayRepeat(req, winner.result) {
		winner.drop()
		return (<-results).keep()
	}
	for i := range runs {
		if &runs[i] != winner {
			runs[i].cancel()
		}
	}
	(<-results).drop()
	return winner.keep()
}

// run is one of two exchanges for a request.
type run struct {
	result
	cancel context.CancelFunc
}

// keep gives the result, whose context ends with its body.
func (r *run) keep() result {
	if r.err != nil {
		r.cancel()
		return r.result
	}
	if b := r.resp.Body.(*body); b.err != nil {
		r.cancel()
	} else {
		b.x.release = r.cancel
	}
	return r.result
}

func (r *run) drop() {
	r.discard()
	r.cancel()
}
