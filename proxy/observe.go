package proxy

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
)

// watch follows a request of a route that observes: what would become of it is
// decided by the functions that decide it for a route that caches, from what the
// shadow has; its own answer stands for that of the fill, or of the renewal, which
// it would have begun. So a flight lasts as long as its leader's client reads, all
// who come meanwhile count as its followers, whatever their number and variant, and
// there is no fleet. It is of one goroutine at a time.
type watch struct {
	h      *Handler
	counts *observedCounts
	found  *entry
	// outcome is NoOutcome as long as it hangs on the answer.
	outcome Outcome
	counted bool
	place   place
	job     *job // nil where nothing is learned from the answer
	head    *head
	// length of the whole where the answer does not have it, else -1.
	length int64
	ended  sync.Once
	handed bool // its end is the body's
}

// observe passes the request on, and counts what would have become of it.
func (c *call) observe() {
	p, d := c.decide()
	w := &watch{h: c.h, counts: c.route.observed, found: c.found, length: -1}
	// Nothing stored answers: what follows shall not find it.
	c.watch, c.found = w, nil
	switch p {
	case fromStore, standingIn:
		w.outcome = outcomeOf(cache.Status{Hit: true, HasTTL: true, TTL: d.TTL})
		if p == standingIn || d.Action == cache.ServeAndRefresh ||
			d.TTL < w.found.early && cache.RefreshesEarly(w.found.Object, d.TTL, 1-rand.Float64()) {
			w.renew(c)
		}
	case notCached:
		w.outcome = Missed
	case past:
	case byFill:
		w.job = c.newErrand(w.found)
		if w.place = c.h.shadow.join(w.job.flight, c.snap.MaxFills); w.place == nowhere {
			w.job = nil
		}
	}
	if p != fromStore && p != standingIn {
		w.counts.forwarded[d.Reason].Add(1)
	}
	defer func() {
		if !w.counted { // there are too many requests, so nobody was asked
			w.count(w.failure(c.servesOnError(w.found)))
		}
		if !w.handed {
			w.end()
		}
	}()
	c.pass(cache.Observe)
}

// known is what is stored for a request that is passed on, or would be.
func (c *call) known() *entry {
	w := c.watch
	switch {
	case w == nil:
		return c.found
	case w.outcome == NoOutcome && w.job == nil:
		return w.found
	}
	return nil
}

// renew takes the answer for that of a renewal, if it is the request's turn.
func (w *watch) renew(c *call) {
	if c.method == "GET" && w.found.takeTurn(c.now) {
		w.place, w.job = refreshing, c.newErrand(w.found)
		w.job.renewal, w.job.ranged = true, false
	}
}

// end gives up the place in the flight.
func (w *watch) end() {
	w.ended.Do(func() {
		switch w.place {
		case leading:
			w.h.shadow.land(w.job.flight)
		case refreshing:
			w.found.endTurn()
		case nowhere, behind:
		}
	})
}

// answered counts the request, whose answer, or the failure to get one, is there.
func (w *watch) answered(c *call, resp *upstream.Response, requested time.Time, err error) {
	if w == nil {
		return
	}
	now := time.Now()
	servesOnError := cache.ServesOnError(w.found.object(), c.rq, now)
	switch {
	case err != nil && c.isGone():
		w.count(Gone)
		return
	case err != nil:
		if w.job != nil {
			w.found.noteAttempt(true)
		}
		w.count(w.failure(servesOnError))
		return
	}
	failed := servesOnError && c.fails(resp, requested)
	if w.job != nil {
		whole := w.whole(resp)
		w.head = w.job.assess(&whole, requested, now)
		if w.place != behind {
			w.job.remember(w.head)
			w.job.dropReplaced(w.head)
		}
	}
	if failed {
		w.count(StoodIn)
	} else {
		w.count(w.judge())
	}
}

// count counts the request, by the outcome that was known before, if there is one.
func (w *watch) count(o Outcome) {
	if w.outcome != NoOutcome {
		o = w.outcome
	}
	w.counted = true
	w.counts.outcomes[o].Add(1)
}

func (w *watch) failure(servesOnError bool) Outcome {
	if servesOnError {
		return StoodIn
	}
	return Failed
}

// judge says what a fill with this head would have been for the request.
func (w *watch) judge() Outcome {
	switch hd := w.head; {
	case w.job == nil, w.place == behind && verdict(hd, w.job.fields) == singleflight.Private,
		w.job.ranged && hd.reason == cache.RangeTooLarge:
		return Passed
	case w.place == behind:
		return Collapsed
	case w.found != nil && stillStands(&w.found.Meta, &hd.meta):
		return Revalidated
	}
	return Missed
}

// stillStands reports whether an upstream that has sent now would have confirmed m
// by a 304 (RFC 9110, section 13.1).
func stillStands(m, now *cache.Meta) bool {
	switch {
	case m.Status != 200 || now.Status != 200:
		return false
	case m.ETag != "":
		return strings.TrimPrefix(m.ETag, "W/") == strings.TrimPrefix(now.ETag, "W/")
	}
	return m.LastModified != "" && m.LastModified == now.LastModified
}

// whole is the response that a fill would have got, which asks without the client's
// conditions and ranges: a 304 has all that decides, but for the length (RFC 9110,
// section 15.4.5), and a 206 names it (section 14.4). A route that compresses asks
// for no coding.
func (w *watch) whole(resp *upstream.Response) upstream.Response {
	r := *resp
	switch {
	case resp.Status == 304:
		r.Status, w.length = 200, 0
		if w.found != nil {
			w.length, r.Fields = w.found.size(), completed(resp.Fields, w.found.Fields)
		}
		r.Length = w.length
	case resp.Status == 206 && w.job.rq.HasRange():
		_, text, _ := strings.Cut(resp.Fields.Get("Content-Range"), "/")
		if total, ok := wire.ParseLength(text); ok {
			r.Status, r.Length, w.length = 200, total, total
			r.Fields = without(resp.Fields, "Content-Range")
		}
	}
	if w.job.route.Compression != nil {
		r.Fields = without(r.Fields, "Content-Encoding")
	}
	return r
}

// completed adds to the fields of a 304 those that the stored ones have beside them
// (RFC 9111, section 3.2).
func completed(fields, stored wire.Fields) wire.Fields {
	all := slices.Clone(fields)
	for _, f := range stored {
		if !fields.Has(f.Name) && !wire.EqualFold(f.Name, "Date") && !wire.EqualFold(f.Name, "Age") {
			all = append(all, f)
		}
	}
	return all
}

func without(fields wire.Fields, name string) wire.Fields {
	return slices.DeleteFunc(slices.Clone(fields), func(f wire.Field) bool { return wire.EqualFold(f.Name, name) })
}

// body returns the answer's body, by whose end the watch knows what would be
// stored.
func (w *watch) body(src io.ReadCloser, length int64) io.ReadCloser {
	if w == nil || w.head == nil || w.place == behind {
		return src
	}
	w.handed = true
	return &watchedBody{ReadCloser: src, watch: w, announced: length}
}

// watchedBody counts the bytes of a body.
type watchedBody struct {
	io.ReadCloser
	watch        *watch
	n, announced int64
	failed       bool
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed = true
	}
	return n, err
}

// Await implements waiter.
func (b *watchedBody) Await() {
	if w, ok := b.ReadCloser.(waiter); ok {
		w.Await()
	}
}

// Close implements io.Closer. Where the client has left before the end, a fill
// would have gone on: the rest counts as far as its length was announced.
func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	w, size := b.watch, max(b.n, b.announced)
	if w.length >= 0 {
		size = w.length
	}
	w.store(size, b.failed)
	w.end()
	return err
}

// store counts the fill, and notes what it would have stored.
func (w *watch) store(size int64, truncated bool) {
	j, hd := w.job, w.head
	why := hd.reason
	switch {
	case why != cache.None:
	case truncated:
		why = cache.Truncated
	case size > w.job.snap.MaxObject:
		why = cache.TooLarge
	case j.ranged && size > j.route.RangeFill:
		why = cache.RangeTooLarge
		j.tables.mark(j.key.bytes, large, why, w.job.snap.UncacheableTTL)
	default:
		e := j.sketch(hd, size)
		why = j.shelve(e, nil)
		if why == cache.None && len(e.Vary) > 0 {
			j.tables.admitVariant(&j.key, e, w.job.snap.MaxVariants)
		}
	}
	w.counts.countStored(why)
}

// sketch is the entry that keep would make, without head and body.
func (j *job) sketch(hd *head, size int64) *entry {
	j.key.bytes = j.key.bytes[:j.key.primary]
	if len(hd.meta.Vary) > 0 {
		j.key.bytes = cache.AppendVariant(j.key.bytes, hd.meta.Vary, j.fields)
	}
	m := hd.meta
	m.Withheld = nil
	o := &cache.Object{Meta: m, Key: string(j.key.storeName()), Epoch: hd.born, FillTime: max(time.Since(m.ResponseTime)+m.ResponseDelay, 0)}
	e := &entry{Object: o, heading: j.heading(m.Fields), tags: hd.tags, variant: string(j.key.variant()), unkept: size}
	if j.route.Policy.EarlyRefresh {
		e.early = o.EarlyWindow()
	}
	return e
}

// explainObserved says what is done, and what would be if the route cached.
func (c *call) explainObserved(x *Explanation) {
	var would Explanation
	c.explainCache(&would)
	x.forwarded(ForecastBypass, cache.Observe)
	x.Marks = would.Marks
	if x.Stored = would.Stored; x.Stored != nil {
		x.Stored.Tier = "the observed cache, without its body"
	}
	x.note("with cache: on it would be " + string(would.Outcome) + ": " + would.Why)
}
