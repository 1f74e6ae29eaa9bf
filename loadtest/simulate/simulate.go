// Package simulate puts the requests of an access log through caches and rings that
// exist only here, so that a size can be chosen before anything is deployed.
package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"ringfence/loadtest/logs"
	"ringfence/ring"
)

// Options say what is tried. Each of the lists is required.
type Options struct {
	Memory   []int64         // sizes of the cache, in bytes
	TTLs     []time.Duration // how long answers stay fresh
	Policies []Policy
	Servers  []int // how many there are behind, for the load of each
	Overhead int64 // bytes of memory for an object beside its body
	// ByPath has requests that differ only in their query share an answer.
	ByPath bool
}

// Result is what it came to.
type Result struct {
	Requests  int   `json:"requests"`
	Cacheable int   `json:"cacheable"` // of these: GET and HEAD with a status that may be stored
	Keys      int   `json:"keys"`      // different ones of the cacheable
	Bytes     int64 `json:"bytes"`     // of one answer for each key, with the overhead: what all of it takes
	// Caches are in the order of policies, TTLs and sizes.
	Caches []Cache `json:"caches"`
	Rings  []Load  `json:"rings"`
}

// Cache is what came of one kind of cache. The ratios are of all requests, those that
// are not cacheable among them.
type Cache struct {
	Policy   string        `json:"policy"`
	Memory   int64         `json:"memory"`
	TTL      time.Duration `json:"ttl_ns"`
	HitRatio float64       `json:"hit_ratio"`
	// ByteRatio is the part of the bytes that come from the cache.
	ByteRatio float64 `json:"byte_ratio"`
	Misses    int     `json:"misses"` // what the servers behind get
}

// Percent is the hit ratio, in percent.
func (c Cache) Percent() float64 { return 100 * c.HitRatio }

// BytePercent is the ratio of bytes, in percent.
func (c Cache) BytePercent() float64 { return 100 * c.ByteRatio }

// Load is how a ring of equal servers divides the requests. In each list the busiest
// server is first.
type Load struct {
	Servers int   `json:"servers"`
	All     []int `json:"all"`    // without a cache
	Misses  []int `json:"misses"` // behind the last of the caches
}

// Busiest is how many times the mean a list's first one has; 0 where there is nothing.
func Busiest(list []int) float64 {
	sum := 0
	for _, n := range list {
		sum += n
	}
	if sum == 0 {
		return 0
	}
	return float64(list[0]) * float64(len(list)) / float64(sum)
}

// request is what matters of an entry.
type request struct {
	key       int // the number of its key
	at        time.Duration
	size      int64 // of its answer's body
	cacheable bool
}

// trace is a log in a form that can be gone through again and again.
type trace struct {
	requests []request
	hashed   []string // the keys themselves
	sizes    []int64  // of each key's answer, the largest there was
}

// Run goes through the log with everything that is tried.
func Run(entries []logs.Entry, o Options) (Result, error) {
	if len(o.Memory) == 0 || len(o.TTLs) == 0 || len(o.Policies) == 0 {
		return Result{}, errors.New("want sizes, TTLs and policies")
	}
	t := newTrace(entries, o.ByPath)
	r := Result{Requests: len(t.requests)}
	seen := make([]bool, len(t.sizes))
	for _, q := range t.requests {
		if !q.cacheable {
			continue
		}
		r.Cacheable++
		if !seen[q.key] {
			seen[q.key] = true
			r.Keys++
			r.Bytes += t.sizes[q.key] + o.Overhead
		}
	}
	var missed []int
	for _, policy := range o.Policies {
		for _, ttl := range o.TTLs {
			for _, memory := range o.Memory {
				c, misses, err := t.through(policy, memory, ttl, o.Overhead)
				if err != nil {
					return r, err
				}
				r.Caches = append(r.Caches, c)
				missed = misses
			}
		}
	}
	for _, servers := range o.Servers {
		l, err := t.divide(servers, missed)
		if err != nil {
			return r, err
		}
		r.Rings = append(r.Rings, l)
	}
	return r, nil
}

// storable are the statuses that are cacheable by themselves (RFC 9110, section 15.1).
var storable = []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501, 304, 206}

func newTrace(entries []logs.Entry, byPath bool) trace {
	t := trace{requests: make([]request, len(entries))}
	numbers := map[string]int{}
	for i, e := range entries {
		key := e.Host + e.Target
		if byPath {
			key = e.Host + path(e.Target)
		}
		n, ok := numbers[key]
		if !ok {
			n = len(t.sizes)
			numbers[key] = n
			t.hashed = append(t.hashed, key)
			t.sizes = append(t.sizes, 0)
		}
		if e.Method == "GET" {
			t.sizes[n] = max(t.sizes[n], e.Bytes)
		}
		t.requests[i] = request{
			key: n, at: e.At.Sub(entries[0].At), size: max(e.Bytes, 0),
			cacheable: (e.Method == "GET" || e.Method == "HEAD") && (e.Status < 0 || slices.Contains(storable, e.Status)),
		}
	}
	return t
}

func path(target string) string {
	for i, c := range target {
		if c == '?' {
			return target[:i]
		}
	}
	return target
}

// through returns what a cache comes to, and which requests miss it.
func (t trace) through(policy Policy, memory int64, ttl time.Duration, overhead int64) (Cache, []int, error) {
	s, err := policy.open(memory)
	if err != nil {
		return Cache{}, nil, fmt.Errorf("%s, %d bytes: %w", policy.Name, memory, err)
	}
	defer s.close()
	c := Cache{Policy: policy.Name, Memory: memory, TTL: ttl}
	var missed []int
	var bytes, hitBytes int64
	hits := 0
	for i, q := range t.requests {
		bytes += q.size
		if q.cacheable {
			if until, ok := s.get(q.key); ok && q.at < until {
				hits++
				hitBytes += q.size
				continue
			}
			s.put(q.key, q.at+ttl, t.sizes[q.key]+overhead)
		}
		missed = append(missed, i)
	}
	c.Misses = len(missed)
	c.HitRatio = float64(hits) / float64(max(len(t.requests), 1))
	c.ByteRatio = float64(hitBytes) / float64(max(bytes, 1))
	return c, missed, nil
}

// divide has a ring of equal servers divide all requests, and those that missed.
func (t trace) divide(servers int, missed []int) (Load, error) {
	members := make([]ring.Member, max(servers, 0))
	for i := range members {
		members[i] = ring.Member{ID: "server-" + strconv.Itoa(i), Weight: 1}
	}
	r, err := ring.New(members)
	if err != nil {
		return Load{}, err
	}
	home := make([]int, len(t.hashed))
	for i, key := range t.hashed {
		w := r.Walk(r.Hash([]byte(key)))
		home[i], _ = w.Next()
	}
	l := Load{Servers: servers, All: make([]int, servers), Misses: make([]int, servers)}
	for _, q := range t.requests {
		l.All[home[q.key]]++
	}
	for _, i := range missed {
		l.Misses[home[t.requests[i].key]]++
	}
	for _, list := range [][]int{l.All, l.Misses} {
		slices.SortFunc(list, func(a, b int) int { return cmp.Compare(b, a) })
	}
	return l, nil
}
