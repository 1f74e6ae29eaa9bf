package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// derive fills in the defaults that follow from other options.
func derive(d *decoder, c *Config) {
	if !d.written("cache.max_object_size") {
		c.Cache.MaxObjectSize = min(c.Cache.MaxObjectSize, c.Cache.Memory)
	}
	for name, u := range c.Upstreams {
		check := &u.HealthCheck
		if !d.written(join("upstreams", name) + ".health_check.timeout") {
			check.Timeout = min(check.Timeout, check.Interval/2)
		}
		for i, m := range u.Servers {
			u.Servers[i].ID = cmp.Or(m.ID, m.Address)
		}
		c.Upstreams[name] = u
	}
}

// validate checks what no value can show by itself. What already has a fault
// is not judged again.
func validate(d *decoder, c Config) {
	shared := c.Admin.Listen == c.Listen && !strings.HasSuffix(c.Listen, ":0")
	if shared && d.sound("listen", "admin.listen") {
		if d.written("admin.listen") {
			d.faultAt("admin.listen", "is the same address as listen; give it its own port")
		} else {
			d.faultAt("listen", "is the default of admin.listen; give one of them another port")
		}
	}
	if d.sound("cache.memory", "cache.max_object_size") && c.Cache.MaxObjectSize > c.Cache.Memory {
		d.faultAt("cache.max_object_size", "is more than cache.memory; write at most that")
	}
	for name, u := range c.Upstreams {
		path := join("upstreams", name)
		validateMembers(d, path+".servers", u.Servers)
		validateHealthCheck(d, path+".health_check", u.HealthCheck)
	}
	validateRoutes(d, c)
}

func validateMembers(d *decoder, path string, members []Member) {
	sound := d.sound(path)
	seen := make(map[string]string)
	total := 0
	for i, m := range members {
		member := fmt.Sprintf("%s[%d]", path, i)
		total += m.Weight
		if m.ID == "" {
			continue
		}
		if first, taken := seen[m.ID]; taken {
			d.faultAt(member, "the id %q is taken%s; remove this server or give it its own id", m.ID, d.atLine(first))
			continue
		}
		seen[m.ID] = member
	}
	if sound && total == 0 && len(members) > 0 {
		d.faultAt(path, "no server has a weight above 0; give one at least weight: 1")
	}
}

func validateHealthCheck(d *decoder, path string, check HealthCheck) {
	if check.Type == CheckTCP {
		for _, option := range []string{".path", ".host"} {
			if d.written(path + option) {
				d.faultAt(path+option, "means nothing to a tcp check; remove it or write type: http")
			}
		}
	}
	timeout, interval := path+".timeout", path+".interval"
	if d.sound(timeout, interval) && check.Type != CheckNone && check.Timeout >= check.Interval {
		d.faultAt(timeout, "want less than interval, which is %v", check.Interval)
	}
}

func validateRoutes(d *decoder, c Config) {
	type match struct{ host, prefix string }
	seen := make(map[match]string)
	names := slices.Sorted(maps.Keys(c.Upstreams))
	for i, r := range c.Routes {
		if r.Upstream == "" {
			continue // no route at all, or one that misses what is required
		}
		path := fmt.Sprintf("routes[%d]", i)
		if _, known := c.Upstreams[r.Upstream]; !known && len(names) > 0 {
			d.faultAt(path+".upstream", "there is no upstream %q; %s", clip(r.Upstream), suggest(r.Upstream, names))
		}
		validateKey(d, path+".cache_key", r.CacheKey)
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

func validateKey(d *decoder, path string, parts []KeyPart) {
	sound := d.sound(path)
	seen := make(map[KeyPart]bool)
	for i, p := range parts {
		if seen[p] && p.Kind != "" { // "" is at fault already
			d.faultAt(fmt.Sprintf("%s[%d]", path, i), "%s is in the list already; remove one of them", p)
		}
		seen[p] = true
	}
	if sound && !seen[KeyPart{Kind: PartPath}] {
		d.faultAt(path, "path is missing; add it to the list")
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

func (d *decoder) written(path string) bool {
	_, ok := d.places[path]
	return ok
}

// sound reports whether no fault was found so far at any of the paths or below.
func (d *decoder) sound(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(path string) bool { return d.faulty[path] })
}

// faultAt records a fault of a value that was written.
func (d *decoder) faultAt(path, format string, args ...any) {
	d.fault(path, d.places[path], format, args...)
}

// atLine names the line of the value at path, where there are lines.
func (d *decoder) atLine(path string) string {
	if n := d.places[path].line; n > 0 {
		return fmt.Sprintf(" at line %d", n)
	}
	return ""
}
