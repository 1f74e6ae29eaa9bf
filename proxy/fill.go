package proxy

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
	"ringfence/singleflight/redis"
)

// head is what a fill tells its readers before the body: a response's head in
// the forms in which it is used. It is immutable.
type head struct {
	// found says that there is nothing to tell: another fill has stored an
	// object meanwhile, and each request had better look for itself.
	found bool
	// entry is the whole answer where a 304 confirmed it; there is no body in
	// the flight then, and of the rest only reason and withheld count.
	entry *entry

	meta   cache.Meta
	length int64 // of the body: bytes, wire.Chunked or wire.UntilClose
	reason cache.Reason
	heading
	// withheld are lines that the leader's client alone may see.
	withheld wire.Fields
	// born is job.born of the fill, and tags are where the response's groups and
	// tags are in the epochs.
	born uint64
	tags []uint64
	// variant is the part of the leader's request that selected this response,
	// as cache.AppendVariant gives it for meta.Vary.
	variant string
	// copied says that another instance fetched it, and stored that it was done
	// with that before it was asked.
	copied, stored bool
	// whole is for those who want parts of the body in another order than it
	// comes, or do not know yet which ones there are.
	whole *whole
	// server is the id of who answered, after this many attempts; "" and 0 where it
	// was another instance's fill.
	server   string
	attempts int
}

// whole is a complete body in one piece, or nil where there is none, once ended
// is closed.
type whole struct {
	once  sync.Once
	ended chan struct{}
	body  []byte
}

// end says what has become of the body. A second call does nothing.
func (w *whole) end(body []byte) {
	w.once.Do(func() {
		w.body = body
		close(w.ended)
	})
}

// job is what a fill needs, apart from the client that brought it.
type job struct {
	h      *Handler
	snap   *snapshot
	tables *tables // where what comes of it is kept
	route  *Route
	target target // owned
	key    keys   // owned
	flight string
	born   uint64 // the tick of the epochs in which the request was sent, at the latest
	// found is what the request had found in the store: to be confirmed where it
	// has a validator, replaced, or kept. It may be nil.
	found   *entry
	req     upstream.Request
	id      string      // of the request; "" where there are no ids
	fields  wire.Fields // of the client's request
	rq      cache.Request
	ranged  bool // it is done for a range of the whole
	renewal bool // nobody waits for it
	// server has answered last, after this many attempts in all.
	server   string
	attempts int
}

// newJob copies from the call what outlives it.
func (c *call) newJob(found *entry) *job {
	j := c.newErrand(found)
	asked := cache.StripConditions(c.forward[:0:0], c.fields)
	if c.route.Compression != nil {
		asked = askIdentity(asked)
	}
	c.identify()
	j.id = c.id
	c.forward = appendForwarded(c.forward[:0], c.sender(), c.target, asked)
	j.req = upstream.Request{ // without a Client: the answer is for all who wait
		Method: "GET", Target: j.target.raw, Fields: c.forward.Clone(2),
		Hash: c.key.hash, Key: c.route.PlaceBy.of(j.target, j.fields, c.client()), Alone: c.h.fleet != nil,
	}
	return j
}

// newErrand is newJob for one that asks nobody.
func (c *call) newErrand(found *entry) *job {
	j := &job{h: c.h, snap: c.snap, tables: c.tables, route: c.route, born: c.h.struck.Now(), found: found, ranged: c.rq.HasRange(), key: c.key.clone()}
	j.flight = c.key.flight(c.h.struck.last(&c.key, nil).Latest(), c.fields.Has("Authorization"))
	j.fields = c.fields.Clone(0)
	j.rq = cache.NewRequest(&c.route.Policy, string([]byte(c.method)), j.fields)
	j.target = c.target.clone()
	return j
}

// askIdentity makes the upstream send what the route compresses itself.
func askIdentity(fields wire.Fields) wire.Fields {
	fields = slices.DeleteFunc(fields, func(f wire.Field) bool { return wire.EqualFold(f.Name, "Accept-Encoding") })
	return append(fields, wire.Field{Name: "Accept-Encoding", Value: "identity"})
}

// fill is the leader's work: look again, fetch, judge, publish, store.
func (j *job) fill(ctx context.Context, w *singleflight.Writer[*head]) error {
	now := time.Now()
	if e, _ := j.h.find(&j.key, j.fields, now); e != nil && (e != j.found || !j.renewal) {
		if cache.Decide(e.object(), j.rq, now).Action == cache.Serve {
			return w.Head(&head{found: true}, singleflight.Store)
		}
	}
	if j.h.fleet == nil {
		return j.ask(ctx, w)
	}
	return j.h.fleet.lead(ctx, j, w)
}

// fleetKey is what the flight is called among all instances, whose epochs differ.
// Requests with cookies fly apart from those without: an answer that turns out
// to be personal is remembered in the whole fleet, and others must not pay for
// it.
func (k *keys) fleetKey(fields wire.Fields) redis.Key {
	class := classOf(fields.Has("Authorization"))
	if class == 'p' && hasCredentials(fields) {
		class = 'c'
	}
	name := append([]byte{class}, k.bytes[:k.primary]...)
	return redis.Key{Name: string(name), Variant: string(k.variant())}
}

// ask fetches from the upstream, judges, publishes and stores.
func (j *job) ask(ctx context.Context, w *singleflight.Writer[*head]) error {
	resp, requested, err := j.fetch(ctx, j.found)
	if err == nil && resp.Status == 304 && j.found != nil {
		var done bool
		if done, err = j.confirm(ctx, w, resp, requested, time.Now()); done {
			return err
		}
		resp, requested, err = j.fetch(ctx, nil)
	}
	if err != nil {
		j.found.noteAttempt(true)
		if cache.ServesOnError(j.found.object(), j.rq, time.Now()) {
			// Those who wait have an answer: nobody tries once more.
			err = singleflight.Final(err)
		}
		return err
	}
	// A body that was read to its end is closed already.
	defer func() { _ = resp.Body.Close() }()
	return j.publish(ctx, w, resp, requested, time.Now())
}

// fetch asks the upstream, on the condition that found no longer stands where
// there is one.
func (j *job) fetch(ctx context.Context, found *entry) (resp *upstream.Response, requested time.Time, err error) {
	req := j.req
	if found != nil {
		req.Fields = append(req.Fields, cache.Conditions(found.Meta)...)
	}
	requested = time.Now()
	if resp, err = j.h.do(ctx, j.route.Upstream, &req, j.snap.RequestID); err == nil {
		j.server = resp.Server
		j.attempts += resp.Attempts
	}
	return resp, requested, err
}

// do sends a request upstream, and tells the debug log who answered it. An id in
// the answer, under idName unless that is "", is left out: what is stored or shared is about no single request,
// and the client whose request it was gets the id from us.
func (h *Handler) do(ctx context.Context, pool *upstream.Pool, req *upstream.Request, idName string) (*upstream.Response, error) {
	began := time.Now()
	resp, err := pool.Do(ctx, req)
	if err == nil && h.log.Enabled(ctx, slog.LevelDebug) {
		h.log.Debug("upstream answered", "method", req.Method, "host", req.Fields.Get("Host"), "target", req.Target,
			"server", resp.Server, "attempts", resp.Attempts, "status", resp.Status, "took", time.Since(began).String())
	}
	if err == nil && idName != "" {
		resp.Fields = slices.DeleteFunc(resp.Fields, func(f wire.Field) bool { return wire.EqualFold(f.Name, idName) })
	}
	return resp, err
}

// publish streams a response to the flight's readers and stores it where that
// is allowed.
func (j *job) publish(ctx context.Context, w *singleflight.Writer[*head], resp *upstream.Response, requested, received time.Time) error {
	hd := j.judge(resp, requested, received)
	j.remember(hd)
	j.dropReplaced(hd)
	defer hd.whole.end(nil)
	if err := w.Head(hd, verdict(hd, j.fields)); err != nil {
		return err
	}
	if resp.Length >= 0 {
		if err := w.Grow(resp.Length); err != nil {
			return err
		}
	}
	if _, err := w.ReadFrom(resp.Body); err != nil {
		j.h.countUnstored(hd.reason, cache.Truncated)
		return err
	}
	if err := w.End(); err != nil {
		return err
	}
	if hd.reason != cache.None {
		j.h.countUnstored(hd.reason, cache.None)
		return nil
	}
	body := w.Body()
	hd.whole.end(body)
	switch {
	case body == nil && resp.Length != 0:
		j.h.countUnstored(cache.TooLarge, cache.None)
		return nil
	case !redis.Holds(ctx):
		j.h.countUnstored(cache.LeaseLost, cache.None)
		return nil
	}
	return j.keep(hd.meta, body, j.born, time.Since(requested))
}

// confirm answers the flight from the stored object that a 304 confirmed
// (RFC 9111, section 4.3.4), and stores the freshened one. Where the 304 forbids
// to share it, it answers the leader alone. It is not done where the 304 speaks
// of another response.
func (j *job) confirm(ctx context.Context, w *singleflight.Writer[*head], resp *upstream.Response, requested, received time.Time) (done bool, err error) {
	// A 304 has no body.
	_ = resp.Body.Close()
	j.found.noteAttempt(false)
	fresh, why := cache.Freshen(&j.route.Policy, j.found.Object, j.rq, resp.Fields, requested, received)
	if why != cache.None {
		j.h.countUnstored(why, cache.None)
		j.tables.store.Delete(j.found.Key)
	}
	if fresh == nil {
		return false, nil
	}
	fresh.Epoch = j.born // it was asked about after the fill began
	hd := &head{
		reason: why, withheld: fresh.Withheld, born: j.born, tags: tagsOf(j.target, &fresh.Meta),
		server: j.server, attempts: j.attempts,
	}
	if hd.entry, err = j.entry(fresh, j.found); err != nil {
		return true, err
	}
	if why != cache.None {
		return true, w.Head(hd, singleflight.Private)
	}
	if err := w.Head(hd, singleflight.Store); err != nil {
		return true, err
	}
	if err := w.End(); err != nil {
		return true, err
	}
	if !redis.Holds(ctx) {
		j.h.countUnstored(cache.LeaseLost, cache.None)
		return true, nil
	}
	j.put(hd.entry, j.found)
	return true, nil
}

// keep stores a complete response, whose fill began at the tick born and took
// that long, 0 where it is not known.
func (j *job) keep(m cache.Meta, body []byte, born uint64, took time.Duration) error {
	j.key.bytes = j.key.bytes[:j.key.primary]
	if len(m.Vary) > 0 {
		j.key.bytes = cache.AppendVariant(j.key.bytes, m.Vary, j.fields)
	}
	o := &cache.Object{Meta: m, Key: string(j.key.storeName()), Body: body, Epoch: born, FillTime: took}
	e, err := j.entry(o, nil)
	if err != nil {
		return err
	}
	j.put(e, nil)
	return nil
}

// entry prepares an object for hits. from is the entry that it comes from, whose
// body it shares, or nil.
func (j *job) entry(o *cache.Object, from *entry) (*entry, error) {
	o.Withheld = nil
	e := &entry{Object: o, tags: tagsOf(j.target, &o.Meta)}
	if from != nil {
		e.variant, e.unkept = from.variant, from.unkept
		o.Fields = j.route.Compression.announce(o.Meta)
	} else {
		e.variant = string(j.key.variant())
	}
	if j.route.Policy.EarlyRefresh {
		e.early = o.EarlyWindow()
	}
	e.heading = j.heading(o.Fields)
	return e, j.encode(e, from)
}

// put stores an entry; from is as with [job.entry]. A variant is admitted once
// it is stored: whoever drops it then finds it.
func (j *job) put(e, from *entry) {
	if j.found != nil {
		e.heat.Store(j.found.heat.Load()) // what takes its place is used as much
	}
	why := j.shelve(e, from)
	if why != cache.None {
		j.h.countUnstored(why, cache.None)
		return
	}
	j.h.counts[0].stored.Add(1)
	if len(e.Vary) > 0 && j.tables.admitVariant(&j.key, e, j.snap.MaxVariants) {
		j.h.counts[0].variantsDropped.Add(1)
	}
}

// shelve is put without its counts, and before the variant is admitted. It says
// why nothing was stored.
func (j *job) shelve(e, from *entry) cache.Reason {
	switch {
	case e.Epoch < j.tables.struck.last(&j.key, e.tags).Nothing:
		return cache.Invalidated
	case j.tables.isOvertaken(e, from), !j.tables.store.Put(e, e.KeepFor(time.Now())):
		return cache.NotAdmitted
	}
	return cache.None
}

// isOvertaken reports whether another fill has stored a later response than e
// meanwhile, or another one than that which e confirms.
func (t *tables) isOvertaken(e, from *entry) bool {
	now, ok := t.store.Get(e.Key)
	if !ok || now == from {
		return false
	}
	return from != nil || now.ResponseTime.After(e.ResponseTime)
}

// countUnstored counts a fill that was not stored, by the first reason given.
func (h *Handler) countUnstored(first, second cache.Reason) {
	if first == cache.None {
		first = second
	}
	h.counts[0].unstored[first].Add(1)
}
