package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/wire"
)

// PurgeKind is what a purge names. The set is closed.
type PurgeKind uint8

const (
	// PurgeURL: what is stored for URLs, in all variants.
	PurgeURL PurgeKind = iota
	// PurgeKey: what is stored under keys, in all variants. A key is named by its
	// hash, in 16 hexadecimal digits.
	PurgeKey
	// PurgeTag: what carries a tag of Cache-Tag or Surrogate-Key, or belongs to a
	// group of Cache-Groups (RFC 9875), whatever its origin.
	PurgeTag
	// PurgePrefix: what is stored for URLs and all those below them, by whole
	// segments of the path, whatever their queries.
	PurgePrefix
	// PurgeEverything: all that is stored.
	PurgeEverything
	// PurgeKinds is how many kinds there are.
	PurgeKinds
)

// String returns the kind as a metric's label has it.
func (k PurgeKind) String() string {
	return [PurgeKinds]string{"url", "key", "tag", "prefix", "everything"}[k]
}

// Purge is what an operator no longer wants answered from what is stored.
type Purge struct {
	Kind PurgeKind
	// Names are the URLs, keys, tags or prefixes; 1 to 1024, and none for
	// everything. A URL is http or https, absolute, and byte for byte as a request
	// names it, but for the case of scheme and host.
	Names []string
	// Soft leaves what is stored as stale, from now on: it answers within its stale
	// windows (RFC 5861), which begin now, and is validated where it can be. Else it
	// is gone.
	Soft bool
}

// maxPurge bounds the names of a purge.
const maxPurge = 1024

// Purged is what has become of a purge.
type Purged struct {
	// Instances is how many instances of the fleet are known to live; 1 for an
	// instance by itself.
	Instances int
	// Unconfirmed says why not all of them are known to have applied it; nil where
	// they have. This one has.
	Unconfirmed error
}

// purgeTimeout bounds how long an operator waits until all instances have
// confirmed. One that is cut off counts as alive for three seconds.
const purgeTimeout = 5 * time.Second

// Purge takes what p names out of use, here and in the whole fleet. Where all
// instances have confirmed it, no request that comes after it has returned is
// answered with what was stored before, or with the answer to a fill that began
// before; after a soft one, as if that were fresh. A repeated purge does no harm.
// The error says why p names nothing: then nothing was done.
func (h *Handler) Purge(p Purge) (Purged, error) {
	list, err := h.strikesOf(p)
	if err != nil {
		return Purged{}, err
	}
	return h.purge(p, list), nil
}

func (h *Handler) purge(p Purge, list []strike) Purged {
	h.purges[p.Kind][p.left()].Add(1)
	n, err := h.strike(list, purgeTimeout)
	if err != nil {
		h.log.Warn("not every instance has confirmed a purge", "kind", p.Kind.String(), "names", p.Names, "soft", p.Soft, "instances", n, "error", err)
	}
	return Purged{Instances: n, Unconfirmed: err}
}

func (p Purge) left() memory.Left {
	if p.Soft {
		return memory.Stale
	}
	return memory.Nothing
}

// strikesOf returns what a purge comes to.
func (h *Handler) strikesOf(p Purge) (list []strike, err error) {
	switch n := len(p.Names); {
	case p.Kind >= PurgeKinds:
		return nil, fmt.Errorf("purge: there is no kind %d", p.Kind)
	case p.Kind == PurgeEverything && n == 0:
		return []strike{{left: p.left()}}, nil
	case p.Kind == PurgeEverything:
		return nil, errors.New("purge: everything has no names")
	case n == 0 || n > maxPurge:
		return nil, fmt.Errorf("purge: want 1 to %d names, got %d", maxPurge, n)
	}
	for _, name := range p.Names {
		var more []strike
		switch p.Kind {
		case PurgeURL:
			more, err = h.strikesOfURL(name, p.left())
		case PurgeKey:
			more, err = strikesOfKey(name, p.left())
		case PurgePrefix:
			more, err = h.strikesOfPrefix(name, p.left())
		case PurgeTag:
			more = strikesAt(p.left(), []uint64{tagOf(target{}, name)})
			if name != wire.TrimSpace(name) || name == "" {
				err = errors.New("no tag is empty, or has a space at its end")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("purge %q: %w", name, err)
		}
		list = append(list, more...)
	}
	return list, nil
}

func (h *Handler) strikesOfURL(name string, left memory.Left) ([]strike, error) {
	t, err := parseURL(name)
	if err != nil {
		return nil, err
	}
	at := h.resourcesOf(t)
	if at == nil {
		return nil, errNoRoute
	}
	return strikesAt(left, at), nil
}

func strikesOfKey(name string, left memory.Left) ([]strike, error) {
	hash, err := strconv.ParseUint(name, 16, 64)
	if err != nil || len(name) != 16 {
		return nil, errors.New("want the hash of a key, 16 hexadecimal digits")
	}
	return strikesAt(left, []uint64{hash}), nil
}

// strikesOfPrefix strikes below a path once for each way in which keys of the
// origin begin: there may be several routes.
func (h *Handler) strikesOfPrefix(name string, left memory.Left) (list []strike, err error) {
	t, err := parseURL(name)
	if err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(t.path, "/")
	depth := strings.Count(path, "/")
	switch {
	case t.query != "":
		return nil, errors.New("a prefix ends with the path, and reaches all queries")
	case depth > maxDepth:
		return nil, fmt.Errorf("a prefix has at most %d segments", maxDepth)
	}
	for _, r := range h.snap.Load().routes {
		if !matchHost(r.Host, t.host) || !overlaps(strings.TrimSuffix(r.PathPrefix, "/"), path) {
			continue
		}
		var k keys
		k.build(r, t, nil)
		if x := (strike{left, below + reach(depth), belowHash(k.origin(), path)}); !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	if list == nil {
		return nil, errNoRoute
	}
	return list, nil
}

// overlaps reports whether one of two paths, which end without a slash, is below
// the other.
func overlaps(a, b string) bool { return matchPath(a+"/", b+"/") || matchPath(b+"/", a+"/") }

var errNoRoute = errors.New("no route for this host and path")

// parseURL reads an absolute URL as a request's target.
func parseURL(s string) (target, error) {
	scheme, _, _ := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if scheme != "http" && scheme != "https" || !wire.IsTargetText(s) {
		return target{}, errors.New("want a URL such as https://example.com/path, without a fragment")
	}
	return parseTarget(scheme, "GET", s, nil)
}

// purge answers a PURGE request, of a route that takes some.
func (c *call) purge() {
	c.identify()
	if !c.mayPurge() {
		c.refuse(403, "this client may not purge")
		return
	}
	if !c.enter(cache.Method) {
		return
	}
	url := c.target.scheme + "://" + c.target.authority + c.target.raw
	p := Purge{Kind: PurgeURL, Names: []string{url}, Soft: c.fields.Get("Soft-Purge") == "1"}
	done := c.h.purge(p, strikesAt(p.left(), []uint64{c.key.resource}))
	if done.Unconfirmed != nil {
		c.say(202, "", "purged here; not every instance has confirmed it")
	} else {
		c.say(200, "", "purged")
	}
	c.text = append(c.text[:0], pseudonym+"; detail=purged"...)
	c.ctx.Response.Header.AddBytesV("Cache-Status", c.text)
}

// mayPurge reports whether the route takes purges of this client.
func (c *call) mayPurge() bool {
	c.findHops()
	return c.route.purgers.has(c.client())
}

// purgeCounters count the purges that this instance was asked for.
type purgeCounters [PurgeKinds][2]atomic.Uint64

// PurgeStats are how many purges of a kind this instance was asked for.
type PurgeStats struct{ Hard, Soft uint64 }

func (c *purgeCounters) stats() (s [PurgeKinds]PurgeStats) {
	for kind := range c {
		s[kind] = PurgeStats{c[kind][memory.Nothing].Load(), c[kind][memory.Stale].Load()}
	}
	return s
}
