// Package proxy is the life of a request: route it, look it up, collapse it
// with others like it, fetch, deliver. The decisions are made in the rooms
// below it; here they are put in order.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache/memory"
	"ringfence/singleflight"
	"ringfence/singleflight/redis"
)

// Options describe a handler. All of them are required, but for Log.
type Options struct {
	Routes []Route
	// Memory bounds the bytes of stored objects; MaxObject the body of one.
	Memory, MaxObject int64
	// IndexEntries bounds what is remembered of keys beside the objects; an
	// eighth as many invalidations are told apart.
	IndexEntries int
	// WaitTimeout is how long a request waits for the head of another one's
	// fill before it fetches by itself.
	WaitTimeout time.Duration
	// LeadTimeout is how long a fill may go without a head, over all attempts.
	LeadTimeout time.Duration
	// MaxWaiters bounds the requests that share one fill, and MaxFills the
	// fills in progress. Requests beyond them fetch by themselves.
	MaxWaiters, MaxFills int
	// MaxVariants bounds the stored variants of one key.
	MaxVariants int
	// UncacheableTTL is how long a key whose answer could not be shared is
	// remembered: its requests do not wait for one another.
	UncacheableTTL time.Duration
	// FillTimeout is how long a client waits for the next bytes of a fill, and a
	// fill for clients none of which takes any.
	FillTimeout time.Duration
	// ReadTimeout and WriteTimeout bound the silence between two reads of a
	// request body and two writes of a response.
	ReadTimeout, WriteTimeout time.Duration
	// Shared describes the engine that the instances of a fleet share; nil for an
	// instance by itself. Its Tier, OnNode and PrivateMemory are set by New.
	Shared *redis.Options
	// Log is told of failures. Default: nothing is logged.
	Log *slog.Logger
}

// Handler answers requests. Its methods may be called concurrently.
type Handler struct {
	opts    Options
	routes  routes
	store   *memory.Store[*entry]
	index   *memory.Index
	epochs  *memory.Epochs
	flights *singleflight.Group[*head]
	fleet   *fleet // nil for an instance by itself
	counts  counters
	log     *slog.Logger
	calls   sync.Pool // *call
	copies  sync.Pool // *[]byte of copyBuffer bytes
	heads   sync.Pool // *headMaker

	encoders chan *encoder // those that are free

	draining  atomic.Bool
	lingering sync.WaitGroup
	lingerers atomic.Int64 // how many there are in lingering
}

// New builds a handler.
func New(o Options) (*Handler, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	store, err := memory.New(memory.Options[*entry]{
		MaxBytes: o.Memory,
		Key:      func(e *entry) string { return e.Key },
		Cost:     (*entry).cost,
	})
	if err != nil {
		return nil, fmt.Errorf("memory tier: %w", err)
	}
	h := &Handler{
		opts: o, routes: newRoutes(o.Routes), log: o.Log, store: store,
		index:  memory.NewIndex(o.IndexEntries),
		epochs: memory.NewEpochs(o.IndexEntries / 8),

		encoders: newEncoders(),
	}
	for _, r := range h.routes {
		r.prepare()
	}
	flights := singleflight.Options[*head]{
		MaxFlights:  o.MaxFills,
		MaxReaders:  o.MaxWaiters,
		MaxBuffered: o.Memory,
		Keep:        o.MaxObject,
		MaxLead:     o.LeadTimeout,
		ReadWait:    o.FillTimeout,
		OnPanic: func(_ string, p *singleflight.PanicError) {
			h.log.Error("panic in a fill", "panic", p.Value, "stack", string(p.Stack))
		},
	}
	h.flights = singleflight.New(flights)
	if o.Shared != nil {
		if err := h.joinFleet(*o.Shared, flights); err != nil {
			h.store.Close()
			return nil, fmt.Errorf("shared tier: %w", err)
		}
	}
	h.calls.New = func() any { return new(call) }
	h.heads.New = func() any { return new(headMaker) }
	h.copies.New = func() any { b := make([]byte, copyBuffer); return &b }
	return h, nil
}

// Serve answers one request. It is a fasthttp.RequestHandler for a server with
// StreamRequestBody, NoDefaultDate, NoDefaultContentType and
// DisableHeaderNamesNormalizing, and without LazyRequestTime. The answer's body
// is written after it has returned. It may be called concurrently.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx) {
	c := h.calls.Get().(*call)
	c.begin(h, ctx, ctx.Time())
	defer h.end(c)
	c.serve()
}

// end gives the call back, and answers in its place where it panicked.
func (h *Handler) end(c *call) {
	if p := recover(); p != nil {
		h.log.Error("panic while answering a request", "panic", p, "stack", string(debug.Stack()))
		c.ctx.Response.Reset()
		c.say(500, "proxy_internal_error", "the proxy could not complete the request")
		c.ctx.Response.Header.SetConnectionClose()
	}
	c.release()
	c.count.status[min(c.ctx.Response.StatusCode()/100, len(c.count.status)-1)].Add(1)
	if !c.streaming {
		c.count.inFlight.Add(-1)
		if c.leavesBody() {
			c.ctx.Response.Header.SetConnectionClose()
			h.linger(c.ctx.Conn())
		}
	}
	if h.draining.Load() {
		c.ctx.Response.Header.SetConnectionClose()
	}
	h.letLeave(c.ctx)
	c.reset()
	h.calls.Put(c)
}

// letLeave has the answer leave as soon as it is written. Without a deadline
// from its handler fasthttp holds an answer back while there is more of the
// client to read: a pipelined one would wait for the next, which may be long in
// coming, and an interim response would overtake it.
func (h *Handler) letLeave(ctx *fasthttp.RequestCtx) {
	// An error means that the connection is closed: the write says so.
	_ = ctx.SetWriteDeadline(time.Now().Add(h.opts.WriteTimeout))
}

// ServeMalformed answers a request that fasthttp could not read. It is a
// fasthttp error handler; the connection is closed behind it.
func (h *Handler) ServeMalformed(ctx *fasthttp.RequestCtx, err error) {
	status, why := 400, "the request is not valid HTTP/1.1"
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		status, why = 431, "the request head is too large"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, fasthttp.ErrTimeout):
		status, why = 408, "the request did not arrive in time"
	}
	c := h.calls.Get().(*call)
	c.begin(h, ctx, time.Now())
	defer h.end(c)
	c.refuse(status, why)
	if status != 408 { // its client may be sending yet
		h.linger(ctx.Conn())
	}
}

// Drain makes each answer from now on the last one on its connection.
func (h *Handler) Drain() { h.draining.Store(true) }

// Close lets the fills under way end, breaks them off when ctx does, and frees
// the store. Serve must not be called any more.
func (h *Handler) Close(ctx context.Context) error {
	err := errors.Join(h.flights.Close(ctx), h.fleet.close(ctx))
	h.lingering.Wait()
	h.store.Close()
	return err
}

// View is what the operator's surface shows of a handler.
type View struct {
	Requests Stats
	Flights  singleflight.Stats
	Memory   memory.Stats
	Index    memory.IndexStats
	Fleet    *redis.Stats // nil for an instance by itself
	// Lingering counts the closed connections that are read from for another
	// moment, so that their clients see the answer.
	Lingering int64
}

// View returns the counters at this moment.
func (h *Handler) View() View {
	v := View{
		Requests: h.counts.sum(), Flights: h.flights.Stats(), Memory: h.store.Stats(), Index: h.index.Stats(),
		Lingering: h.lingerers.Load(),
	}
	if h.fleet != nil {
		st := h.fleet.engine.Stats()
		v.Fleet = &st
	}
	return v
}
