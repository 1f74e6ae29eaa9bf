package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
	"ringfence/proxy/wire"
	"ringfence/singleflight/redis"
)

// Question is a request that might be made: what would become of it?
type Question struct {
	// Method is the request's; "" stands for GET.
	Method string
	// URL is absolute, http or https. It is taken as it is written.
	URL string
	// Fields are the client's field lines. Host is one of them where it is another
	// than the URL's.
	Fields wire.Fields
	// Client is the address at the other end of the connection; the zero value is
	// for one that is not known, which nothing trusts.
	Client netip.Addr
	// Limits and Site are those of the listener by which the request would come.
	Limits edge.Limits
	Site   edge.Site
}

// NewQuestion reads a question as an operator puts it. Of fields each is
// "Name: value"; client may be "".
func NewQuestion(method, url string, fields []string, client string) (Question, error) {
	q := Question{Method: cmp.Or(method, "GET"), URL: url}
	if scheme := q.scheme(); scheme == "" {
		return q, errors.New("want a URL such as https://example.com/path")
	}
	for _, line := range fields {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return q, fmt.Errorf("header %q: want Name: value", line)
		}
		q.Fields = append(q.Fields, wire.Field{Name: name, Value: wire.TrimSpace(value)})
	}
	if client != "" {
		a, err := netip.ParseAddr(client)
		if err != nil {
			return q, fmt.Errorf("client %q is no IP address", client)
		}
		q.Client = a
	}
	return q, nil
}

// Secure reports whether the request would come over TLS.
func (q Question) Secure() bool { return q.scheme() == "https" }

// scheme is http or https, "" where the URL has neither.
func (q Question) scheme() string {
	scheme, _, _ := strings.Cut(q.URL, "://")
	switch scheme = strings.ToLower(scheme); scheme {
	case "http", "https":
		return scheme
	}
	return ""
}

// request is what the listener would make of the question.
func (q Question) request(now time.Time) *edge.Request {
	authority, target, err := splitAbsolute(q.scheme(), q.URL)
	if err != nil {
		return &edge.Request{Time: now, Refusal: &wire.Refusal{Status: 400, Why: err.Error()}}
	}
	fields := q.Fields
	if !fields.Has("Host") {
		fields = append(wire.Fields{{Name: "Host", Value: authority}}, fields...)
	}
	return edge.NewRequest(cmp.Or(q.Method, "GET"), target, fields, q.Limits, now)
}

// onlooker is the client of a question. There is nobody to be answered: it has
// nothing but what a request is read from.
type onlooker struct {
	edge.Client
	q   *Question
	req *edge.Request
}

func (o onlooker) Request() *edge.Request { return o.req }
func (o onlooker) Peer() netip.AddrPort   { return netip.AddrPortFrom(o.q.Client, 0) }
func (o onlooker) Secure() bool           { return o.q.Secure() }
func (o onlooker) Site() *edge.Site       { return &o.q.Site }

// Explain says what would become of a request at this moment, and why. It goes
// the way of a real one up to where that would be answered, fetched or passed
// on, by the same functions, and leaves nothing behind: no count, no lease, no
// place at a server. Where a real one would ask the fleet's engine, that is read,
// for a second at most. It may be called concurrently.
func (h *Handler) Explain(q Question) Explanation {
	now := time.Now()
	req := q.request(now)
	c := &call{h: h, snap: h.snap.Load(), conn: onlooker{q: &q, req: req}, req: req, now: now, tables: &h.tables}
	w, status, why := c.chart()
	x := Explanation{Live: true, Time: now, Method: cmp.Or(q.Method, "GET"), URL: q.URL}
	if q.Client.IsValid() {
		x.Client = q.Client.String()
	}
	if c.route != nil {
		c.findHops()
		if x.URL = c.target.scheme + "://" + c.target.authority + c.target.raw; c.client().IsValid() {
			x.Client = c.client().String()
		}
		x.Route = c.route.explain()
	}
	switch w {
	case refused:
		x.refuse(status, why)
	case redirected:
		x.decided(ForecastRedirect, 308, "it is to be had by https alone")
	case ours:
		x.decided(ForecastAnswered, 204, "the proxy answers for itself")
	case purges:
		x.explainPurge(c.mayPurge())
	case upgrades:
		x.forwarded(ForecastBypass, cache.Upgrade)
	case uncached:
		x.forwarded(ForecastBypass, cache.RouteOff)
	case observed:
		c.explainObserved(&x)
	case cacheable:
		c.explainCache(&x)
	}
	if c.route != nil {
		x.Key = c.explainKey()
		x.Placement = c.explainPlacement(&x)
	}
	return x
}

// explainCache says what the cache has for the request, and would do.
func (c *call) explainCache(x *Explanation) {
	p, d := c.decide()
	reason := d.Reason
	x.Stored, x.Marks = c.explainStored(), c.explainMarks()
	switch p {
	case fromStore:
		st := cache.Status{Hit: true, HasTTL: true, TTL: d.TTL, Detail: reason}
		x.served(forecastOf(d), c.statusFromStore(), st)
		if d.Action == cache.Serve && d.TTL < c.found.early {
			x.note("it may be fetched again in the background, as its freshness ends soon (early_refresh)")
		}
	case standingIn:
		ttl := d.TTL
		x.served(ForecastStale, c.statusFromStore(), cache.Status{Hit: true, HasTTL: true, TTL: ttl, Detail: cache.StaleOnError})
		x.note("the upstream has failed a moment ago: nobody waits for it")
	case notCached:
		x.forwarded(ForecastRefused, reason)
		x.Status, x.Why = 504, "the client wants no forwarding, and nothing usable is stored"
	case past:
		x.forwarded(ForecastBypass, reason)
	case byFill:
		c.explainFill(x, d)
	}
	if p != fromStore && p != standingIn && c.servesOnError(c.found) {
		x.note("if the upstream fails, what is stored answers")
	}
}

// forecastOf tells fresh from stale.
func forecastOf(d cache.Decision) Forecast {
	if d.TTL > 0 {
		return ForecastHit
	}
	return ForecastStale
}

// statusFromStore is the status with which what is stored answers.
func (c *call) statusFromStore() int {
	meta, _, body := c.found.choose(&c.rq)
	switch cache.Evaluate(meta, int64(len(body)), c.rq).Kind {
	case cache.NotModified:
		return 304
	case cache.Part, cache.Parts:
		return 206
	case cache.NotSatisfiable:
		return 416
	}
	return c.found.Status
}

// explainFill says what a fill would do.
func (c *call) explainFill(x *Explanation, d cache.Decision) {
	x.forwarded(ForecastMiss, d.Reason)
	if d.Action == cache.Revalidate {
		x.Outcome = ForecastRevalidate
		for _, f := range cache.Conditions(c.found.Meta) {
			x.note("the upstream is asked with " + f.Name + ": " + f.Value)
		}
	}
	if c.h.flights.Has(c.key.flight(c.h.struck.last(&c.key, nil).Latest(), c.fields.Has("Authorization"))) {
		x.note("another request's fill is under way: this one waits for it")
		return
	}
	if c.h.fleet != nil && c.route.Cache == CacheOn {
		c.explainFleet(x)
	}
}

// peekTimeout bounds how long the fleet's engine is asked.
const peekTimeout = time.Second

// explainFleet says what the fleet has of what this instance would fetch.
func (c *call) explainFleet(x *Explanation) {
	ctx, cancel := context.WithTimeout(context.Background(), peekTimeout)
	defer cancel()
	p, err := c.h.fleet.engine.Peek(ctx, c.key.fleetKey(c.fields))
	if err != nil {
		x.note("the fleet's engine is away: this instance goes on alone")
		return
	}
	switch p.Found {
	case redis.FoundNothing:
		x.note("the fleet has nothing of it: this instance takes the lease at " + p.Node)
	case redis.FoundFill:
		x.note("another instance is fetching it: this one follows")
	case redis.FoundPrivate:
		x.Outcome = ForecastBypass
		x.note("the fleet remembers that it cannot be shared")
	case redis.FoundWhole:
		c.explainForeign(x, p)
	}
}

// explainForeign says what another instance has fetched, and whether that
// answers.
func (c *call) explainForeign(x *Explanation, p redis.Peeked) {
	f, err := readForeign(p.Stored, &c.route.Policy, c.rq, c.now)
	if err != nil {
		x.note("what the fleet has cannot be read, and is replaced")
		return
	}
	o := cache.Object{Meta: f.meta}
	x.Shared = explainObject(&f.meta, &o, c.now)
	x.Shared.Tier, x.Shared.Bytes = "the fleet's engine at "+p.Node, p.Stored.Length
	if last := c.h.struck.last(&c.key, tagsOf(c.target, &f.meta)).Latest(); p.Stored.Born < last {
		x.Shared.Purged = timeOf(last)
		return
	}
	if string(cache.AppendVariant(nil, f.meta.Vary, c.fields)) != f.variant {
		x.note("what the fleet has is another variant")
		return
	}
	if f.serves(c.rq, c.now) {
		x.served(ForecastHit, 0, cache.Status{Hit: true, HasTTL: true, TTL: o.Lifetime - o.Age(c.now), Detail: cache.Shared})
	}
}

// maxSteps bounds the servers that are listed.
const maxSteps = 16

func (c *call) explainPlacement(x *Explanation) *ExplainedPlacement {
	by := c.route.PlaceBy
	req := upstream.Request{Hash: c.key.hash, Key: by.of(c.target, c.fields, c.client())}
	p := &ExplainedPlacement{Upstream: c.route.pool, Placement: c.route.Upstream.Explain(&req, maxSteps)}
	if p.Keyed {
		p.By, p.Value, p.Hash = by.String(), req.Key, hashText(p.Placement.Hash)
		if by.kind == placeByClient && req.Key == "" {
			x.note("requests are placed by their client's address, which is not known here: the walk is that of the key")
		}
	}
	return p
}
