package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"ringfence/health"
)

// Retry says when a request that failed is sent to the next member of its walk.
// That happens only where it is safe: no byte of the request has left, or its
// method is idempotent (RFC 9110, section 9.2.2) and it has no body, or one that
// was kept.
type Retry struct {
	// Attempts bounds how many members a request is sent to, 1 to 10; 1 is no
	// retry.
	Attempts int
	// Connect: the request could not be sent at all.
	Connect bool
	// Reset: the connection ended before a response head.
	Reset bool
	// Timeout: there was no head within PerTry.
	Timeout bool
	// Statuses are those that count as a failure. The last member's answer is
	// the request's, whatever it is.
	Statuses []int
	// PerTry bounds the wait for a head where Timeout is set and another member
	// may yet be asked; 0: Options.ResponseTimeout does, and then nobody else is
	// asked.
	PerTry time.Duration
	// Budget is how many retries and hedges there may be at once, as a part of
	// the requests that wait for a head; BudgetMin are allowed in any case. It
	// keeps a failing upstream from getting a multiple of its load. What of it
	// requests do not use is saved, up to one retry for each request that waits:
	// when a server goes, all that it had can move on at once.
	Budget    float64
	BudgetMin int
	// MaxBody is the largest request body that is kept to be sent again, in
	// bytes; its length must be known. 0 keeps none.
	MaxBody int64
}

// budget counts the requests that wait for a head, and the retries among them.
type budget struct {
	part    float64
	least   int
	active  atomic.Int64
	retries atomic.Int64
	saved   atomic.Int64 // retries saved, in units of 1/oneRetry
	refused atomic.Uint64
}

// oneRetry is what one retry costs of what is saved.
const oneRetry = 1 << 10

// begin counts a request, and saves its part of a retry.
func (b *budget) begin() {
	if saved := b.active.Add(1) * oneRetry; b.saved.Load() < saved {
		b.saved.Add(int64(b.part * oneRetry))
	}
}

func (b *budget) end() { b.active.Add(-1) }

// spend takes a retry off what is saved.
func (b *budget) spend() bool {
	for {
		saved := b.saved.Load()
		if saved < oneRetry {
			return false
		}
		if b.saved.CompareAndSwap(saved, saved-oneRetry) {
			return true
		}
	}
}

// take allows one retry, which must be given back, or none. Those within the
// part of the requests are paid from what is saved as well: where all requests
// fail, nothing is left beside that part.
func (b *budget) take() bool {
	most := max(int64(b.part*float64(b.active.Load())), int64(b.least))
	within := b.retries.Add(1) <= most
	if b.spend() || within {
		return true
	}
	b.retries.Add(-1)
	b.refused.Add(1)
	return false
}

func (b *budget) give() { b.retries.Add(-1) }

// result is what one member made of a request.
type result struct {
	resp *Response
	err  error
}

// discard ends an answer that nobody gets. What has arrived whole is read, so
// that the connection stays.
func (r result) discard() {
	if r.resp == nil {
		return
	}
	if r.resp.Arrived() == r.resp.Length {
		_, _ = io.Copy(io.Discard, r.resp.Body)
	}
	_ = r.resp.Body.Close()
}

// send sends req to the members of its order until one has answered, or the
// request may not be sent again.
func (p *Pool) send(ctx context.Context, o *order, req *Request) result {
	s, err := o.enter(ctx)
	if err != nil {
		return result{err: o.set.plan.refusal(err)}
	}
	r, more := p.first(ctx, o, s, req), true
	for more && ctx.Err() == nil && o.mayGoOn() && o.set.plan.mayRepeat(req, r) {
		r, more = p.retry(ctx, o, req, r)
	}
	if r.resp != nil {
		r.resp.Attempts = o.n
	} else if e, ok := errors.AsType[*Error](r.err); ok {
		e.Attempts = o.n
	}
	return r
}

// retry sends req to one more member after the result r. It is false, and the
// result still r, where the budget does not allow it, or no other member lets the
// request in; who has an answer does not wait for that. What an abandoned server
// leaves behind is only moved, not multiplied, and needs no budget.
func (p *Pool) retry(ctx context.Context, o *order, req *Request, r result) (result, bool) {
	if !errors.Is(r.err, errAbandoned) {
		budget := o.set.plan.budget
		if !budget.take() {
			return r, false
		}
		defer budget.give()
	}
	s, ok := o.enterNow()
	if !ok && r.resp == nil {
		var err error
		s, err = o.enter(ctx)
		ok = err == nil
	}
	if !ok {
		return r, false
	}
	p.counts.retried.Add(1)
	r.discard()
	return o.set.plan.try(ctx, s, req, o.mayGoOn()), true
}

// Do sends req to the member that it belongs to, and where that fails and it is
// safe, to the next members of its walk; see [Retry]. A request that met a kept
// connection's end gets a new connection to the same member, which is not
// counted as an attempt. The error is an [*Error]; it is [ConnectionLimit] where
// there is too much to do. ctx ends the exchange, its body included.
func (p *Pool) Do(ctx context.Context, req *Request) (*Response, error) {
	s := p.set.Load()
	req, err := s.plan.keepBody(ctx, req)
	if err != nil {
		return nil, err
	}
	limiter := s.plan.limiter
	if limiter == nil {
		r := p.do(ctx, s, req)
		return r.resp, r.err
	}
	if !limiter.Acquire() {
		p.counts.shed.Add(1)
		return nil, &Error{Kind: ConnectionLimit, Unsent: true, Err: errors.New("as many requests as the upstream can take at the moment")}
	}
	began := time.Now()
	r := p.do(ctx, s, req)
	limiter.Release(time.Since(began), r.outcome(req))
	return r.resp, r.err
}

// outcome is what the result of req says of how busy the upstream is. How long
// it took to answer a body that was streamed was up to the client as well.
func (r result) outcome(req *Request) health.Outcome {
	if e, failed := errors.AsType[*Error](r.err); failed {
		switch e.Kind {
		case ReadTimeout, ConnectTimeout, ConnectionLimit, Terminated:
			return health.DroppedByServer
		default:
			return health.Ignored
		}
	}
	switch {
	case r.resp.Status == http.StatusServiceUnavailable:
		return health.DroppedByServer
	case req.hasBody() && req.kept == nil:
		return health.Ignored
	}
	return health.Served
}

func (p *Pool) do(ctx context.Context, s *set, req *Request) result {
	s.plan.budget.begin()
	defer s.plan.budget.end()
	var o order
	o.begin(p, s, req)
	return p.send(ctx, &o, req)
}

// refusal is why no member has let a request in.
func (p *plan) refusal(err error) error {
	if errors.Is(err, errNoMember) {
		return &Error{Kind: Unavailable, Unsent: true, Err: errors.New("no server of " + p.o.Name + " is there and has any weight")}
	}
	return err
}

// mayRepeat reports whether another member may be asked after a result.
func (p *plan) mayRepeat(req *Request, r result) bool {
	if r.err == nil {
		return slices.Contains(p.o.Retry.Statuses, r.resp.Status) && req.isRepeatable()
	}
	e, ok := errors.AsType[*Error](r.err)
	switch {
	case !ok || e.Kind == Canceled:
		return false
	case e.Unsent:
		return p.o.Retry.Connect
	case e.Kind == Terminated:
		return p.o.Retry.Reset && req.isRepeatable()
	case e.Kind == ReadTimeout:
		return p.o.Retry.Timeout && p.o.Retry.PerTry > 0 && req.isRepeatable()
	}
	return false
}

// try sends req to a server that has let it in, on a second connection where the
// first had been idle and turned out to be closed. more says that another member
// may be asked after it.
func (p *plan) try(ctx context.Context, s *server, req *Request, more bool) result {
	limits := p.limits
	if more && req.isRepeatable() {
		limits.movable = p.o.Retry.Reset
		if p.o.Retry.Timeout && p.o.Retry.PerTry > 0 {
			limits.response = min(limits.response, p.o.Retry.PerTry)
		}
	}
	began := time.Now()
	resp, stale, err := start(ctx, s, p.bufs, limits, req.again(), false)
	if stale {
		resp, _, err = start(ctx, s, p.bufs, limits, req.again(), true)
	}
	took := time.Since(began)
	p.took.Observe(took)
	s.took.Add(int64(took))
	if err != nil {
		s.leave()
	}
	return result{resp: resp, err: err}
}

// isResendable reports whether a request whose connection had been idle may go
// to the same server again.
func isResendable(req *Request, err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Unsent || e.Kind == Terminated && req.isRepeatable())
}

// keepBody reads a small body whole, so that it can be sent more than once.
func (p *plan) keepBody(ctx context.Context, req *Request) (*Request, error) {
	if p.o.Retry.Attempts == 1 || !req.hasBody() || req.Length < 0 || req.Length > p.o.Retry.MaxBody || !isIdempotent(req.Method) {
		return req, nil
	}
	kept := *req
	kept.kept = make([]byte, req.Length)
	if _, err := io.ReadFull(req.Body, kept.kept); err != nil {
		// The request fails either way.
		_ = req.Body.Close()
		if ctx.Err() != nil {
			return nil, &Error{Kind: Canceled, Unsent: true, Err: context.Cause(ctx)}
		}
		return nil, &Error{Kind: RequestIncomplete, Unsent: true, Err: err}
	}
	return &kept, nil
}

// again is the request to be sent once more.
func (r *Request) again() *Request {
	if r.kept == nil {
		return r
	}
	once := *r
	once.Body = io.NopCloser(bytes.NewReader(r.kept))
	return &once
}

// isIdempotent: RFC 9110, section 9.2.2.
func isIdempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// isRepeatable reports whether the request may be sent again where its fate is
// unknown.
func (r *Request) isRepeatable() bool {
	return isIdempotent(r.Method) && (!r.hasBody() || r.kept != nil)
}
