package proxy

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

// entry is a stored object with what answers a request from it without further
// work. Nobody writes to it but for the state of its refreshing.
type entry struct {
	*cache.Object
	head     fasthttp.ResponseHeader // of a full hit
	coded    []*form                 // the same content in other codings
	codings  []cache.Coding          // of coded, in order
	variant  string                  // what the request's fields say under Vary
	resource uint64                  // keys.resource
	tags     []uint64                // of the object's groups
	// early is how long before its end the freshness may be renewed.
	early time.Duration

	// failing: the last attempt to renew it met a failing upstream.
	failing atomic.Bool
	// turn is the time, in nanoseconds since the epoch of Unix, from which one
	// request may begin to renew it in the background.
	turn atomic.Int64
}

// form is the content of an entry in another content coding.
type form struct {
	meta cache.Meta // what conditions are evaluated against, without the fields
	head fasthttp.ResponseHeader
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

// object returns e's object, nil for none.
func (e *entry) object() *cache.Object {
	if e == nil {
		return nil
	}
	return e.Object
}

// choose returns the form of the content that the request prefers.
func (e *entry) choose(rq *cache.Request) (*cache.Meta, *fasthttp.ResponseHeader, []byte) {
	if len(e.coded) > 0 && !rq.HasRange() {
		coding := cache.Negotiate(rq.Fields, e.codings)
		for i, c := range e.codings {
			if c == coding {
				f := e.coded[i]
				return &f.meta, &f.head, f.body
			}
		}
	}
	return &e.Meta, &e.head, e.Body
}

// cost is how many bytes an entry takes: the object, its other forms, and each
// one's head once more in fasthttp's form.
func (e *entry) cost() int64 {
	head := headCost(e.Fields)
	n := e.Size() + entryOverhead + head + int64(len(e.variant)) + int64(8*cap(e.tags))
	for _, f := range e.coded {
		n += formOverhead + int64(cap(f.body)) + head
	}
	return n
}

func headCost(fields wire.Fields) (n int64) {
	for _, f := range fields {
		n += int64(len(f.Name) + len(f.Value) + fieldOverhead)
	}
	return n
}

// What an entry and its forms take beside their text, and fasthttp's form of a
// head per line, with what is lost around two short texts.
const (
	entryOverhead = int64(unsafe.Sizeof(entry{}))
	formOverhead  = int64(unsafe.Sizeof(form{}))
	fieldOverhead = 72
)
