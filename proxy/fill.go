package proxy

import (
	"context"
	"encoding/binary"
	"log/slog"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
)

// staleKeep is how long a stored response that can be revalidated is kept
// after it has become stale.
const staleKeep = time.Hour

// head is what a fill tells its readers before the body: a response's head in
// the forms in which it is used. It is immutable.
type head struct {
	// found says that there is nothing to tell: another fill has stored an
	// object meanwhile, and each request had better look for itself.
	found bool
	// entry is the whole answer where a 304 confirmed it; there is no body in
	// the flight then, and only reason counts of the rest.
	entry *entry

	meta   cache.Meta
	length int64 // of the body: bytes, wire.Chunked or wire.UntilClose
	reason cache.Reason
	shared fasthttp.ResponseHeader // for streaming; nobody writes to it
	// variant is the part of the leader's request that selected this response,
	// as cache.AppendVariant gives it for meta.Vary.
	variant string
}

// job is what a fill needs, apart from the client that brought it.
type job struct {
	h      *Handler
	route  *Route
	key    keys // owned
	flight string
	epoch  uint32
	stale  *entry // to be confirmed, or nil
	req    upstream.Request
	fields wire.Fields // of the client's request
	rq     cache.Request
	blank  fasthttp.ResponseHeader // an empty header of the server's kind
}

// newJob copies from the call what outlives it.
func (c *call) newJob(stale *entry) *job {
	j := &job{h: c.h, route: c.route, epoch: c.h.epochs.Epoch(c.key.hash), stale: stale}
	j.key = keys{bytes: append([]byte(nil), c.key.bytes...), primary: c.key.primary, hash: c.key.hash}
	j.flight = c.key.flight(j.epoch, c.fields.Has("Authorization"))
	j.fields = c.fields.Clone(0)
	j.rq = cache.NewRequest(string([]byte(c.method)), j.fields)
	c.forward = appendForwarded(c.forward[:0], c.ctx, c.target, cache.StripConditions(c.forward[:0:0], c.fields))
	j.req = upstream.Request{
		Method: "GET", Target: string([]byte(c.target.raw)), Hash: c.key.hash,
		Fields: c.forward.Clone(2),
	}
	c.ctx.Response.Header.CopyTo(&j.blank)
	return j
}

// flight returns the name of a key's flight. Requests with credentials fly
// apart from those without, lest one that turns out to be personal holds up
// all; and none joins a flight that an invalidation has overtaken.
func (k *keys) flight(epoch uint32, authorized bool) string {
	b := make([]byte, 0, len(k.bytes)+5)
	b = append(b, classOf(authorized))
	b = binary.BigEndian.AppendUint32(b, epoch)
	return string(append(b, k.bytes...))
}

func classOf(authorized bool) byte {
	if authorized {
		return 'a'
	}
	return 'p'
}

// fill is the leader's work: look again, fetch, judge, publish, store.
func (j *job) fill(ctx context.Context, w *singleflight.Writer[*head]) error {
	now := time.Now()
	if e, _ := j.h.find(&j.key, j.fields, now); e != nil {
		if cache.Decide(e.Object, j.rq, now).Action == cache.Serve {
			return w.Head(&head{found: true}, singleflight.Store)
		}
	}
	resp, requested, err := j.fetch(ctx, j.stale)
	if err == nil && resp.Status == 304 && j.stale != nil {
		var done bool
		if done, err = j.confirm(w, resp, requested, time.Now()); done {
			return err
		}
		resp, requested, err = j.fetch(ctx, nil)
	}
	if err != nil {
		return err
	}
	// A body that was read to its end is closed already.
	defer func() { _ = resp.Body.Close() }()
	return j.publish(w, resp, requested, time.Now())
}

// fetch asks the upstream, on the condition that stale no longer stands where
// there is one.
func (j *job) fetch(ctx context.Context, stale *entry) (resp *upstream.Response, requested time.Time, err error) {
	req := j.req
	if stale != nil {
		req.Fields = append(req.Fields, cache.Conditions(stale.Meta)...)
	}
	requested = time.Now()
	resp, err = j.h.do(ctx, j.route.Upstream, &req)
	return resp, requested, err
}

// do sends a request upstream, and tells the debug log who answered it.
func (h *Handler) do(ctx context.Context, pool *upstream.Pool, req *upstream.Request) (*upstream.Response, error) {
	began := time.Now()
	resp, err := pool.Do(ctx, req)
	if err == nil && h.log.Enabled(ctx, slog.LevelDebug) {
		h.log.Debug("upstream answered", "method", req.Method, "host", req.Fields.Get("Host"), "target", req.Target,
			"server", resp.Server, "attempts", resp.Attempts, "status", resp.Status, "took", time.Since(began).String())
	}
	return resp, err
}

// publish streams a response to the flight's readers and stores it where that
// is allowed.
func (j *job) publish(w *singleflight.Writer[*head], resp *upstream.Response, requested, received time.Time) error {
	hd, err := j.judge(resp, requested, received)
	if err != nil {
		return err
	}
	j.remember(hd)
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
	if body == nil && resp.Length != 0 {
		j.h.countUnstored(cache.TooLarge, cache.None)
		return nil
	}
	return j.keep(hd.meta, body)
}

// judge assesses a response at its head.
func (j *job) judge(resp *upstream.Response, requested, received time.Time) (*head, error) {
	hd := &head{length: resp.Length}
	hd.meta, hd.reason = cache.Assess(j.rq, resp.Status, resp.Fields, requested, received)
	if hd.reason == cache.None && resp.Length > j.h.opts.MaxObject {
		hd.reason = cache.TooLarge
	}
	hd.variant = string(cache.AppendVariant(nil, hd.meta.Vary, j.fields))
	j.blank.CopyTo(&hd.shared)
	var r headReader
	return hd, r.read(&hd.shared, resp.Status, hd.meta.Fields, frame(resp.Length))
}

// frame is the length a client can be told: a body that ends with its
// connection is sent on in chunks.
func frame(length int64) int64 {
	if length == wire.UntilClose {
		return wire.Chunked
	}
	return length
}

// remember writes down, before anybody is told of the head, what the next
// requests for the key must know: that it varies, or that its answers are not to
// be waited for.
func (j *job) remember(hd *head) {
	switch {
	case hd.reason == cache.None:
		j.h.rememberVary(j.key.hash, string(j.key.bytes[:j.key.primary]), hd.meta.Vary)
	case hd.reason != cache.RequestNoStore && speaksOfResource(hd.meta.Status):
		j.h.mark(appendMark(nil, j.key.bytes, hasCredentials(j.fields)))
	}
}

// speaksOfResource reports whether a status says something about what was asked
// for, rather than about how it was asked or how the server fares. One odd
// request shall not undo the collapsing of all others.
func speaksOfResource(status int) bool { return status < 400 || status == 404 || status == 410 }

// rememberVary notes by which fields a key's variants are told apart, or that
// they no longer are.
func (h *Handler) rememberVary(hash uint64, key string, vary []string) {
	now := time.Now()
	if len(vary) > 0 {
		h.index.Put(hash, key, memory.Record{Vary: vary}, now)
	} else if _, ok := h.index.Lookup(hash, key, now); ok {
		h.index.Delete(hash, key)
	}
}

// appendMark appends the name under which the index has the mark of a key and
// variant, beside its Vary record: that answers could not be shared. What a
// request with credentials brought about holds for such requests only.
func appendMark(dst, key []byte, credentials bool) []byte {
	dst = append(append(dst, key...), 0)
	if credentials {
		return append(dst, 'c')
	}
	return append(dst, 'u')
}

func hasCredentials(fields wire.Fields) bool {
	return fields.Has("Authorization") || fields.Has("Cookie")
}

func (h *Handler) mark(name []byte) {
	now := time.Now()
	h.index.Put(xxhash.Sum64(name), view(name), memory.Record{Until: now.Add(h.opts.UncacheableTTL)}, now)
}

func (h *Handler) isMarked(name []byte, now time.Time) bool {
	_, ok := h.index.Lookup(xxhash.Sum64(name), view(name), now)
	return ok
}

// verdict says who may read a fill. What may be stored is for everybody. So is
// a body that is only too large; and an upstream's failure to answer, which
// says nothing about who asked: else every waiting request would put the
// question to a server in trouble once more.
func verdict(hd *head, fields wire.Fields) singleflight.Verdict {
	switch {
	case hd.reason == cache.None:
		return singleflight.Store
	case hd.reason == cache.TooLarge:
		return singleflight.Share
	case hd.meta.Status >= 500 && hd.reason == cache.NoFreshness && !hasCredentials(fields):
		return singleflight.Share
	}
	return singleflight.Private
}

// confirm answers the flight from the stored object that a 304 confirmed
// (RFC 9111, section 4.3.4), and stores the freshened one. Where the 304 forbids
// to share it, it answers the leader alone. It is not done where the 304 speaks
// of another response.
func (j *job) confirm(w *singleflight.Writer[*head], resp *upstream.Response, requested, received time.Time) (done bool, err error) {
	// A 304 has no body.
	_ = resp.Body.Close()
	fresh, why := cache.Freshen(j.stale.Object, j.rq, resp.Fields, requested, received)
	if why != cache.None {
		j.h.countUnstored(why, cache.None)
		j.h.store.Delete(j.stale.Key)
	}
	if fresh == nil {
		return false, nil
	}
	fresh.Epoch = j.epoch // it was asked about after the fill began
	e, err := j.entry(fresh)
	if err != nil {
		return true, err
	}
	if why != cache.None {
		return true, w.Head(&head{entry: e, reason: why}, singleflight.Private)
	}
	if err := w.Head(&head{entry: e}, singleflight.Store); err != nil {
		return true, err
	}
	if err := w.End(); err != nil {
		return true, err
	}
	j.put(e)
	return true, nil
}

// keep stores a complete response.
func (j *job) keep(m cache.Meta, body []byte) error {
	k := j.key.bytes[:j.key.primary:j.key.primary]
	if len(m.Vary) > 0 {
		k = cache.AppendVariant(k, m.Vary, j.fields)
	}
	e, err := j.entry(&cache.Object{Meta: m, Key: string(k), Body: body, Epoch: j.epoch})
	if err != nil {
		return err
	}
	j.put(e)
	return nil
}

// entry prepares an object for hits.
func (j *job) entry(o *cache.Object) (*entry, error) {
	e := &entry{Object: o}
	j.blank.CopyTo(&e.head)
	var r headReader
	return e, r.read(&e.head, o.Status, o.Fields, int64(len(o.Body)))
}

func (j *job) put(e *entry) {
	if j.h.epochs.Epoch(j.key.hash) != j.epoch {
		j.h.countUnstored(cache.Invalidated, cache.None)
		return
	}
	if j.h.store.Put(e, e.keepFor(time.Now())) {
		j.h.counts[0].stored.Add(1)
		return
	}
	j.h.countUnstored(cache.NotAdmitted, cache.None)
}

// keepFor returns how long an entry is of use from now on.
func (e *entry) keepFor(now time.Time) time.Duration {
	ttl := e.Lifetime - e.Age(now)
	if e.HasValidator() {
		ttl = max(ttl, 0) + staleKeep
	}
	return ttl
}

// countUnstored counts a fill that was not stored, by the first reason given.
func (h *Handler) countUnstored(first, second cache.Reason) {
	if first == cache.None {
		first = second
	}
	h.counts[0].unstored[first].Add(1)
}
