package proxy

import (
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

func (r *Route) explain() *ExplainedRoute {
	return &ExplainedRoute{Name: r.name, Upstream: r.pool, Cache: r.Cache == CacheOn, Observe: r.Cache == CacheObserve}
}

// explainKey says what the key is made of. After decide it has the variant.
func (c *call) explainKey() *ExplainedKey {
	x := &ExplainedKey{Hash: hashText(c.key.hash), Parts: readKey(c.route, c.key.bytes[:c.key.primary])}
	for _, f := range cache.ReadVariant(view(c.key.variant())) {
		x.Variant = append(x.Variant, ExplainedPart{Name: f.Name, Value: string([]byte(f.Value)), Absent: f.Absent})
	}
	return x
}

// readKey is the reverse of keys.build, for a key of the route.
func readKey(r *Route, key []byte) []ExplainedPart {
	list := []ExplainedPart{{Name: "upstream", Value: r.pool}}
	rest := parts{rest: string(key[len(r.scope):])}
	for _, p := range r.Key {
		if p.kind != keyHeader {
			list = append(list, ExplainedPart{Name: p.String(), Value: rest.text()})
			continue
		}
		n := rest.number()
		if n == 0 {
			list = append(list, ExplainedPart{Name: p.String(), Absent: true})
		}
		for range n {
			list = append(list, ExplainedPart{Name: p.String(), Value: rest.text()})
		}
	}
	return list
}

// explainStored says what is stored for the request, usable or not; nil for
// nothing. decide comes before it.
func (c *call) explainStored() *ExplainedObject {
	e, ok := c.tables.store.Get(view(c.key.storeName()))
	if !ok || e.variant != view(c.key.variant()) {
		return nil
	}
	x := explainObject(&e.Meta, e.object(), c.now)
	x.Tier, x.Bytes, x.Failing = "memory", e.size(), e.failing.Load()
	for _, coding := range e.codings {
		x.Codings = append(x.Codings, coding.String())
	}
	last := c.h.struck.last(&c.key, e.tags)
	if e.Epoch < last.Nothing {
		x.Purged = timeOf(last.Nothing)
	}
	if e.Epoch < last.Stale {
		x.Expired = timeOf(last.Stale)
	}
	return x
}

// timeOf is when a strike was, of which the tick is known.
func timeOf(tick uint64) *time.Time {
	t := time.Unix(0, int64(tick))
	return &t
}

// explainObject says what a response said of itself, and what is left of it: o,
// which a soft purge may have made of it.
func explainObject(m *cache.Meta, o *cache.Object, now time.Time) *ExplainedObject {
	sum := o.Sum(now)
	x := &ExplainedObject{
		Status: m.Status, Tags: m.Tags, Groups: m.Groups, NoCache: m.NoCache, MustRevalidate: m.MustRevalidate,
		Freshness: ExplainedFreshness{
			Date: m.Date, ResponseTime: m.ResponseTime,
			ApparentAge: seconds(sum.ApparentAge), AgeValue: seconds(m.AgeValue), ResponseDelay: seconds(m.ResponseDelay),
			CorrectedAge: seconds(sum.CorrectedAge), InitialAge: seconds(sum.InitialAge),
			ResidentTime: seconds(sum.ResidentTime), Age: seconds(sum.Age),
			Lifetime: seconds(o.Lifetime), From: m.Source.String(), TTL: seconds(sum.TTL),
			StaleWhileRevalidate: seconds(m.StaleWhileRevalidate), StaleIfError: seconds(m.StaleOnError),
		},
	}
	for _, f := range m.Fields {
		if saysOfStoring(f.Name) {
			x.Fields = append(x.Fields, f.Name+": "+f.Value)
		}
	}
	return x
}

// saysOfStoring reports whether a field is about storing and reuse.
func saysOfStoring(name string) bool {
	for _, one := range [...]string{
		"Cache-Control", "CDN-Cache-Control", "Expires", "Date", "Vary", "ETag", "Last-Modified",
		"Cache-Tag", "Surrogate-Key", "Cache-Groups",
	} {
		if wire.EqualFold(name, one) {
			return true
		}
	}
	return false
}

// explainMarks says what is remembered of answers that were not stored.
func (c *call) explainMarks() (list []ExplainedMark) {
	for _, m := range [...]struct {
		mark
		text string
	}{{unshared, "uncacheable"}, {personal, "uncacheable with credentials"}, {large, "too large for ranges"}} {
		rec, ok := c.marked(m.mark)
		if !ok {
			continue
		}
		x := ExplainedMark{Mark: m.text, Reason: "another instance says so", Until: rec.Until}
		if why := cache.Reason(rec.Why); why != cache.None {
			x.Reason = why.String()
		}
		list = append(list, x)
	}
	return list
}
