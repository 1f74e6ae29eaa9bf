package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// derive fills in the defaults that follow from other options.
func derive(d *decoder, c *Config) {
	if !d.written("cache.max_object_size") {
		c.Cache.MaxObjectSize = min(c.Cache.MaxObjectSize, c.Cache.Memory)
	}
	if shared := &c.Cache.Shared; !d.written("cache.shared.max_object_size") {
		shared.MaxObjectSize = min(shared.MaxObjectSize, c.Cache.MaxObjectSize)
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
	for i := range c.Routes {
		if limit := &c.Routes[i].RangeFillLimit; !d.written(routePath(i) + ".range_fill_limit") {
			*limit = min(*limit, c.Cache.MaxObjectSize)
		}
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
	validateShared(d, c.Cache)
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
