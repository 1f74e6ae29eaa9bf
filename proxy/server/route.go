package server

import (
	"ringfence/proxy"
	"ringfence/proxy/cache"
	"ringfence/proxy/config"
	"ringfence/proxy/upstream"
)

// routeOf turns the configuration of a route into the handler's.
func routeOf(r config.Route, cfg config.Config, pools map[string]*upstream.Pool) (proxy.Route, error) {
	limits := cfg.Cache
	route := proxy.Route{
		Host: r.Host, PathPrefix: r.PathPrefix, Upstream: pools[r.Upstream], Upgrade: r.Upgrade, Cache: cachingOf(r.Cache),
		RangeFill: int64(r.RangeFillLimit), Policy: policyOf(r, limits), Compression: compressionOf(r.Compress),
		ForwardFields: r.ForwardFields, PurgeFrom: r.PurgeFrom,
	}
	for _, part := range r.CacheKey {
		p, err := proxy.ParseKeyPart(part.String())
		if err != nil {
			return route, err
		}
		route.Key = append(route.Key, p)
	}
	if by := cfg.Upstreams[r.Upstream].HashBy; by != (config.HashBy{}) {
		place, err := proxy.ParsePlaceBy(by.String())
		if err != nil {
			return route, err
		}
		route.PlaceBy = place
	}
	if q := r.Query; len(q.Keep) > 0 || len(q.Drop) > 0 || q.Sort {
		route.Query = &proxy.QueryRules{Keep: q.Keep, Drop: q.Drop, Sort: q.Sort}
	}
	return route, nil
}

func cachingOf(c config.Caching) proxy.Caching {
	switch c {
	case config.CacheOn:
		return proxy.CacheOn
	case config.CacheObserve:
		return proxy.CacheObserve
	case config.CacheOff:
	}
	return proxy.CacheOff
}

func policyOf(r config.Route, limits config.Cache) cache.Policy {
	p := cache.Policy{
		DefaultTTL:   r.DefaultTTL,
		HeuristicMax: r.HeuristicMax,
		NegativeTTL:  r.NegativeTTL,
		StaleOnError: r.ServeStaleOnError,
		EarlyRefresh: r.EarlyRefresh,
		MaxTags:      limits.MaxTags,
	}
	switch r.SetCookie {
	case config.SetCookieExplicit:
		p.SetCookie = cache.SetCookieExplicit
	case config.SetCookieStore:
		p.SetCookie = cache.SetCookieStore
	case config.SetCookieStrip:
		p.SetCookie = cache.SetCookieStrip
	case config.SetCookieBypass:
		p.SetCookie = cache.SetCookieBypass
	}
	for _, f := range r.TagsFrom {
		p.TagFields |= tagFieldOf(f)
	}
	for _, d := range r.IgnoreRequestDirectives {
		p.Ignore |= directiveOf(d)
	}
	return p
}

// compressionOf returns nil where the route has none.
func compressionOf(c config.Compress) *proxy.Compression {
	if len(c.Codings) == 0 {
		return nil
	}
	z := &proxy.Compression{Types: c.Types, MinSize: int64(c.MinSize)}
	for _, coding := range c.Codings {
		z.Codings = append(z.Codings, codingOf(coding))
	}
	return z
}

func tagFieldOf(f config.TagField) cache.TagFields {
	switch f {
	case config.TagsCacheTag:
		return cache.CacheTag
	case config.TagsSurrogateKey:
		return cache.SurrogateKey
	}
	return 0
}

func directiveOf(d config.RequestDirective) cache.RequestDirectives {
	switch d {
	case config.RequestNoCache:
		return cache.DirectiveNoCache
	case config.RequestNoStore:
		return cache.DirectiveNoStore
	case config.RequestMaxAge:
		return cache.DirectiveMaxAge
	case config.RequestMinFresh:
		return cache.DirectiveMinFresh
	case config.RequestMaxStale:
		return cache.DirectiveMaxStale
	case config.RequestStaleIfError:
		return cache.DirectiveStaleIfError
	case config.RequestOnlyIfCached:
		return cache.DirectiveOnlyIfCached
	case config.RequestPragma:
		return cache.DirectivePragma
	}
	return 0
}

func codingOf(c config.Coding) cache.Coding {
	switch c {
	case config.CodingGzip:
		return cache.Gzip
	case config.CodingBrotli:
		return cache.Brotli
	case config.CodingZstd:
		return cache.Zstd
	}
	return cache.Identity
}
