package proxy

// Caching is what a route does with the cache. The set is closed; the zero value
// is CacheOff.
type Caching uint8

const (
	// CacheOff: nothing is stored, and no request waits for another.
	CacheOff Caching = iota
	// CacheOn: answers are stored, reused and shared.
	CacheOn
	// CacheObserve: as with CacheOff, each request is passed on by itself; what
	// CacheOn would have come to is decided and counted (see [Observed]).
	CacheObserve
)
