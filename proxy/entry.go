package proxy

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"ringfence/proxy/cache"
)

// entry is a stored object with what answers a request from it without further
// work. Nobody writes to it but for the state of its refreshing, and what a soft
// purge leaves of it.
type entry struct {
	*cache.Object                // as it was stored; see object
	heading                      // of its answers
	coded         []*form        // the same content in other codings
	codings       []cache.Coding // of coded, in order
	variant       string         // what the request's fields say under Vary
	tags          []uint64       // where its groups and tags are in the epochs
	// unkept is the length of a body that is not kept: the route observes.
	unkept int64
	// early is how long before its end the freshness may be renewed.
	early time.Duration

	// heat is how warm it is; see heat.
	heat atomic.Uint64
	// failing: the last attempt to renew it met a failing upstream.
	failing atomic.Bool
	// turn is the time, in nanoseconds since the epoch of Unix, from which one
	// request may begin to renew it in the background.
	turn atomic.Int64
	// checked is what struck.Settled was before it was last looked for what has
	// struck it: as long as it is, nothing has since.
	checked atomic.Uint64
	// expired is the object as a soft purge has left it, nil where there was none.
	expired atomic.Pointer[cache.Object]
}

// form is the content of an entry in another content coding.
type form struct {
	heading
	meta cache.Meta // what conditions are evaluated against, without the fields
	body []byte
}

// renewPause is how long after an attempt to renew an entry in the background
// the next one may begin.
const renewPause = time.Second

// takeTurn reports whether the caller, and nobody else, is to renew the entry
// in the background now. It gives the turn back with endTurn.
func (e *entry) takeTurn(now time.Time) bool {
	at := e.turn.Load()
	return now.UnixNano() >= at && e.turn.CompareAndSwap(at, math.MaxInt64)
}

// endTurn lets the next attempt begin after a pause.
func (e *entry) endTurn() { e.turn.Store(time.Now().Add(renewPause).UnixNano()) }

// noteAttempt remembers whether the upstream failed when the entry was to be
// renewed. Where it did, the next attempt in the background has to wait.
func (e *entry) noteAttempt(failed bool) {
	if e == nil {
		return
	}
	e.failing.Store(failed)
	if failed {
		e.endTurn()
	}
}

// object returns what e may answer with as far as its object is fresh, or may be
// stale; nil for none.
func (e *entry) object() *cache.Object {
	if e == nil {
		return nil
	}
	if o := e.expired.Load(); o != nil {
		return o
	}
	return e.Object
}

// expire ends e's freshness at a time, or else now: clocks are set back and forth.
// The first time stays.
func (e *entry) expire(at, now time.Time) {
	if e.expired.Load() == nil {
		o := cache.Expired(e.Object, min(e.Age(at), e.Age(now)))
		e.expired.CompareAndSwap(nil, o)
	}
}

// choose returns the form of the content that the request prefers.
func (e *entry) choose(rq *cache.Request) (*cache.Meta, heading, []byte) {
	if len(e.coded) > 0 && !rq.HasRange() {
		coding := cache.Negotiate(rq.Fields, e.codings)
		for i, c := range e.codings {
			if c == coding {
				f := e.coded[i]
				return &f.meta, f.heading, f.body
			}
		}
	}
	return &e.Meta, e.heading, e.Body
}

// cost is how many bytes an entry takes: the object, its other forms, and each
// one's head as clients get it.
func (e *entry) cost() int64 {
	n := e.Size() + e.unkept + entryOverhead + int64(len(e.heading)+len(e.variant)+8*cap(e.tags))
	for _, f := range e.coded {
		n += formOverhead + int64(cap(f.body)+len(f.heading))
	}
	return n
}

// bodies is how many bytes its forms take together.
func (e *entry) bodies() int64 {
	n := int64(len(e.Body))
	for _, f := range e.coded {
		n += int64(len(f.body))
	}
	return n
}

// size is the length of the body.
func (e *entry) size() int64 { return int64(len(e.Body)) + e.unkept }

// What an entry and its forms take beside their text.
const (
	entryOverhead = int64(unsafe.Sizeof(entry{}))
	formOverhead  = int64(unsafe.Sizeof(form{}))
)
