// Package proxy is the life of a request: route it, look it up, collapse it
// with others like it, fetch, deliver. The decisions are made in the rooms
// below it; here they are put in order.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/accesslog"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/edge"
	"ringfence/singleflight"
	"ringfence/singleflight/redis"
)

// Options describe a handler. All of them are required, but for TrustedProxies,
// RequestID, Shared, AccessLog, Journal and Log.
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
	// MaxRequests bounds the requests under way that memory cannot answer; those
	// beyond it fail.
	MaxRequests int
	// UncacheableTTL is how long a key whose answer could not be shared is
	// remembered: its requests do not wait for one another.
	UncacheableTTL time.Duration
	// FillTimeout is how long a client waits for the next bytes of a fill, and a
	// fill for clients none of which takes any.
	FillTimeout time.Duration
	// TrustedProxies are the peers that are believed when they say for whom they
	// ask, in what scheme, and under what id. Default: nobody is.
	TrustedProxies []netip.Prefix
	// RequestID is the field of request ids; "": there are none, and the field
	// passes like any other.
	RequestID string
	// MaxTunnels bounds the requests that ask for another protocol and the
	// tunnels that come of them; those beyond get a 503.
	MaxTunnels int
	// TunnelTimeout bounds the silence of a tunnel, in both directions together.
	TunnelTimeout time.Duration
	// TunnelGrace is how long tunnels go on after Drain.
	TunnelGrace time.Duration
	// Shared describes the engine that the instances of a fleet share; nil for an
	// instance by itself. Its Tier, OnNode and PrivateMemory are set by New.
	Shared *redis.Options
	// AccessLog is told of each request that was answered; its owner starts and
	// closes it. Default: there is none.
	AccessLog *accesslog.Log
	// Journal keeps the invalidations that a snapshot of the memory tier lacks; its
	// owner opens and closes it. Default: none is kept.
	Journal *Journal
	// Log is told of failures. Default: nothing is logged.
	Log *slog.Logger
}

// Handler answers requests. Its methods may be called concurrently.
type Handler struct {
	snap atomic.Pointer[snapshot]
	tables
	flights *singleflight.Group[*head]
	tunnels *tunnels
	fleet   *fleet // nil for an instance by itself
	journal *Journal
	counts  counters
	timings timings
	tally   tally
	log     *slog.Logger
	calls   sync.Pool // *call
	copies  sync.Pool // *[]byte of copyBuffer bytes
	thrifty sync.Pool // *[]byte of thriftyBuffer bytes
	heads   sync.Pool // *headReader
	records sync.Pool // *record

	encoders chan *encoder // those that are free

	shadow   shadow
	purges   purgeCounters
	hot      *hotKeys
	failed   failures
	loaded   snapshotCounters
	waiting  atomic.Int64 // requests under way that memory cannot answer
	draining atomic.Bool
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
		log:    o.Log,
		tables: tables{store, memory.NewIndex(o.IndexEntries), &struck{Epochs: memory.NewEpochs(o.IndexEntries / 8)}},

		journal: o.Journal,

		tunnels:  newTunnels(o.MaxTunnels, o.TunnelTimeout, o.TunnelGrace),
		encoders: newEncoders(),
		hot:      newHotKeys(time.Now()),
	}
	h.snap.Store(h.newSnapshot(o, nil))
	flights := h.flightOptions(o)
	h.flights = singleflight.New(flights)
	if o.Shared != nil {
		if err := h.joinFleet(*o.Shared, flights); err != nil {
			h.store.Close()
			return nil, fmt.Errorf("shared tier: %w", err)
		}
	}
	h.calls.New = func() any { return new(call) }
	h.heads.New = func() any { return new(headReader) }
	h.records.New = func() any { return new(record) }
	h.copies.New = func() any { b := make([]byte, copyBuffer); return &b }
	h.thrifty.New = func() any { b := make([]byte, thriftyBuffer); return &b }
	return h, nil
}

// Serve answers one request: that of the edge.Client which ctx has for its
// connection. It is the handler of an edge.NewServer. The answer's body is
// written after it has returned. It may be called concurrently.
func (h *Handler) Serve(ctx *fasthttp.RequestCtx) {
	c := h.calls.Get().(*call)
	c.begin(h, ctx.Conn().(edge.Client), ctx.ConnID())
	c.ctx = ctx
	c.count.inFlight.Add(1)
	if c.snap.AccessLog != nil {
		c.record = c.openRecord(ctx.ConnID())
		ctx.SetUserValue(recordKey{}, c.record)
	}
	defer h.end(c)
	c.serve()
}

// end gives the call back, and answers in its place where it panicked.
func (h *Handler) end(c *call) {
	if p := recover(); p != nil {
		h.log.Error("panic while answering a request", "request_id", c.id, "panic", p, "stack", string(debug.Stack()))
		c.ctx.Response.Reset()
		c.say(500, "proxy_internal_error", "the proxy could not complete the request")
		c.putID()
		c.ctx.Response.Header.SetConnectionClose()
		c.outcome = Failed
	}
	c.release()
	took := time.Since(c.req.Time)
	status, size := c.said()
	c.countAnswer(status, size, took)
	if c.out == nil {
		h.leave(c.count, c.waiting)
		if c.leavesBody() {
			c.ctx.Response.Header.SetConnectionClose()
		}
	}
	if hsts := c.conn.Site().HSTS; hsts != "" {
		putHSTS(&c.ctx.Response.Header, hsts)
	}
	if h.draining.Load() {
		c.ctx.Response.Header.SetConnectionClose()
	}
	c.record.answered(c, status, size, took)
	c.reset()
	h.calls.Put(c)
}

// Drain makes each answer from now on the last one on its connection, and lets
// tunnels go on for Options.TunnelGrace.
func (h *Handler) Drain() {
	h.draining.Store(true)
	h.tunnels.drain()
}

// Close lets the fills under way and, from Drain or else now on for
// Options.TunnelGrace, the tunnels end, breaks them off when ctx does, and frees
// the store. Serve must not be called any more.
func (h *Handler) Close(ctx context.Context) error {
	h.tunnels.close(ctx)
	err := errors.Join(h.flights.Close(ctx), h.fleet.close(ctx))
	h.store.Close()
	h.shadow.close()
	return err
}

// View is what the operator's surface shows of a handler.
type View struct {
	Requests Stats
	Flights  singleflight.Stats
	Memory   memory.Stats
	Index    memory.IndexStats
	Tunnels  TunnelStats
	Purges   [PurgeKinds]PurgeStats
	Loaded   SnapshotLoaded
	Fleet    *redis.Stats // nil for an instance by itself
	// Observed is nil while no route ever observed.
	Observed *Observed
	// AccessLog is nil without one.
	AccessLog *accesslog.Stats
}

// View returns the counters at this moment.
func (h *Handler) View() View {
	v := View{
		Requests: h.requestStats(), Flights: h.flights.Stats(), Memory: h.store.Stats(), Index: h.index.Stats(),
		Tunnels: h.tunnels.stats(), Purges: h.purges.stats(), Loaded: h.loaded.stats(), Observed: h.shadow.stats(),
	}
	if h.fleet != nil {
		st := h.fleet.engine.Stats()
		v.Fleet = &st
	}
	if l := h.snap.Load().AccessLog; l != nil {
		st := l.Stats()
		v.AccessLog = &st
	}
	return v
}

// HotKeys returns the keys, at most n, that were asked for most often in the last
// minute or two. It is not for the path of a request.
func (h *Handler) HotKeys(n int) HotKeys { return h.hot.top(n, time.Now()) }

// Failures returns the last hundred failures, the newest first.
func (h *Handler) Failures() []Failure { return h.failed.list() }
