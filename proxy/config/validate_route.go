package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ringfence/proxy/wire"
)

func validateRoutes(d *decoder, c Config) {
	type match struct{ host, prefix string }
	seen := make(map[match]string)
	names := slices.Sorted(maps.Keys(c.Upstreams))
	for i, r := range c.Routes {
		if r.Upstream == "" {
			continue // no route at all, or one that misses what is required
		}
		path := routePath(i)
		if _, known := c.Upstreams[r.Upstream]; !known && len(names) > 0 {
			d.faultAt(path+".upstream", "there is no upstream %q; %s", clip(r.Upstream), suggest(r.Upstream, names))
		}
		validateDistinct(d, path+".upgrade", r.Upgrade)
		inKey := validateKey(d, path+".cache_key", r)
		validateDistinct(d, path+".forward_fields", r.ForwardFields)
		validateDistinct(d, path+".tags_from", r.TagsFrom)
		validateDistinct(d, path+".purge_from", r.PurgeFrom)
		validateCaching(d, path, r, c.Cache)
		validateQuery(d, path+".query", r, inKey)
		validateCompress(d, path+".compress", r.Compress, c.Cache)
		if !d.sound(path+".host", path+".path_prefix") {
			continue
		}
		m := match{r.Host, r.PathPrefix}
		if first, taken := seen[m]; taken {
			d.faultAt(path, "has the same host and path_prefix as the route%s; remove one of them, or make them differ", d.atLine(first))
			continue
		}
		seen[m] = path
	}
}

func routePath(i int) string { return fmt.Sprintf("routes[%d]", i) }

// validateKey reports also whether the query is part of the key, or may be as
// far as one can tell from a list at fault.
func validateKey(d *decoder, path string, r Route) (query bool) {
	parts, sound := r.CacheKey, d.sound(path)
	validateDistinct(d, path, parts)
	for i, p := range parts {
		if p.Kind != PartHeader || wire.RoleOf(p.Name) == wire.Plain || slices.Contains(r.ForwardFields, p.Name) {
			continue
		}
		d.faultAt(fmt.Sprintf("%s[%d]", path, i), "the upstream does not get a client's %s, so it tells no answers apart; %s", p.Name, keyHint(p.Name))
	}
	if sound && !slices.Contains(parts, KeyPart{Kind: PartPath}) {
		d.faultAt(path, "path is missing; add it to the list")
	}
	return !sound || slices.Contains(parts, KeyPart{Kind: PartQuery})
}

func keyHint(name string) string {
	if wire.RoleOf(name) == wire.Unkeyed && !strings.Contains(name, "_") {
		return "write it in forward_fields instead"
	}
	return "remove it"
}

func validateCaching(d *decoder, path string, r Route, cache Cache) {
	validateDistinct(d, path+".ignore_request_directives", r.IgnoreRequestDirectives)
	limit := path + ".range_fill_limit"
	if d.sound(limit, "cache.memory", "cache.max_object_size") && r.RangeFillLimit > cache.MaxObjectSize {
		d.faultAt(limit, "is more than cache.max_object_size; write at most that, or off")
	}
}

// validateQuery wants rules that do something, and that leave nothing to tell
// apart which the key does not: answers would be taken for one another.
func validateQuery(d *decoder, path string, r Route, inKey bool) {
	if d.written(path) && d.sound(path) && r.Cache != CacheOff && !inKey {
		d.faultAt(path, "cache_key has no query, so the parameters that count would not tell answers apart; add query to it or remove this section")
	}
	keep, drop := path+".keep", path+".drop"
	validateDistinct(d, keep, r.Query.Keep)
	validateDistinct(d, drop, r.Query.Drop)
	if !d.sound(keep, drop) {
		return
	}
	for i, kept := range r.Query.Keep {
		covers := func(dropped string) bool { return covers(dropped, kept) }
		if j := slices.IndexFunc(r.Query.Drop, covers); j >= 0 {
			d.faultAt(fmt.Sprintf("%s[%d]", keep, i), "%s is dropped by %s, and drop wins; remove one of them", clip(kept), clip(r.Query.Drop[j]))
		}
	}
}

// covers reports whether a pattern of at most one * matches all that another
// pattern matches: the *, as a character, is matched by a * only.
func covers(pattern, other string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == other
	}
	return len(other) >= len(before)+len(after) && strings.HasPrefix(other, before) && strings.HasSuffix(other, after)
}

func validateCompress(d *decoder, path string, z Compress, cache Cache) {
	codings, types, least := path+".codings", path+".types", path+".min_size"
	validateDistinct(d, codings, z.Codings)
	validateDistinct(d, types, z.Types)
	for option, n := range map[string]int{codings: len(z.Codings), types: len(z.Types)} {
		if d.written(option) && n == 0 {
			d.faultAt(option, "is empty; remove the line for the default, or the section compress for no compression")
		}
	}
	if d.written(least) && d.sound(least, "cache.memory", "cache.max_object_size") && z.MinSize > cache.MaxObjectSize {
		d.faultAt(least, "is more than cache.max_object_size, so nothing would be compressed; write less")
	}
}

// validateDistinct wants no element of a list twice. The zero value stands for
// one that is at fault already.
func validateDistinct[T comparable](d *decoder, path string, list []T) {
	var none T
	seen := make(map[T]bool)
	for i, element := range list {
		if seen[element] && element != none {
			d.faultAt(fmt.Sprintf("%s[%d]", path, i), "%v is in the list already; remove one of them", element)
		}
		seen[element] = true
	}
}

// sortKeys puts the parts of every cache key into one order.
func sortKeys(routes []Route) {
	order := []PartKind{PartScheme, PartHost, PartPath, PartQuery, PartHeader, PartCookie}
	for _, r := range routes {
		slices.SortFunc(r.CacheKey, func(a, b KeyPart) int {
			return cmp.Or(cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind)), cmp.Compare(a.Name, b.Name))
		})
	}
}
