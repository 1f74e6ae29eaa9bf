// Package singleflight runs one fill per key while any number of readers
// stream what it writes, in one process. A fill may pass the log on to other
// processes, or take it from them: see [Writer.Follow] and the
// package redis below this one.
//
// A flight is an append-only log: a head with its [Verdict], then bytes, then
// the end or an abort. The fill appends in a goroutine of its own, so that no
// reader's departure ends it; each [Reader] holds a cursor and sees bytes as
// they arrive. The order of events, seen by a caller that keeps what was
// filled in a store:
//
//  1. look in the store; on a miss, Join;
//  2. the fill looks in the store once more: a flight for the same key may
//     have ended between 1 and Join;
//  3. it fetches, calls [Writer.Head] with the verdict, then writes the body;
//  4. [Writer.End]: the readers see the end of the body;
//  5. it puts [Writer.Body] in the store and returns; only then does the
//     flight leave the table, so that there is no gap between flight and store.
//
// The outcomes are a closed set, after the cache lock of Cloudflare's pingora:
// ready, released (go alone), failed. The collapsing this serves is that of
// RFC 9111, section 4; the package itself knows bytes and an opaque head only.
package singleflight
