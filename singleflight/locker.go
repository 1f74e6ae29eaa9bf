package singleflight

import "context"

// Fill produces what one key's readers wait for. It runs in the flight's own
// goroutine, apart from whoever joined: it may begin or go on after its reader
// was closed, so it must own all it uses.
//
// It calls w.Head once, then perhaps w.Grow, then w.ReadFrom or w.Write, and
// returns nil: the body is complete. It may call w.End earlier to say so and
// go on to store the object, the flight being joinable until it returns. An
// error before Head is a failure, see Options.Elections; one after it aborts
// the body; one after End means nothing to the readers, so handle it there.
//
// ctx ends when the lead time is over before a verdict, when the flight is
// abandoned, and when the group is closed hard; context.Cause tells which. A
// fill must heed it, and must bound the silence of its source by itself.
type Fill[H any] func(ctx context.Context, w *Writer[H]) error

// Locker extends flights across processes. Lead is called in the flight's
// goroutine in place of the fill, and what it returns counts as the fill's own
// result. It does one of three things:
//
//   - It takes the key's lease and calls fill(ctx, w), with the ctx it was
//     given or one derived from it (cancelled, say, when the lease is lost). To
//     ship the log elsewhere it reads from w.Follow: a publisher is a reader
//     like any other, released by a Private verdict, cut off when it stalls.
//     It sees the end or the abort as soon as the fill has returned; before a
//     verdict only its own ctx ends its Wait.
//   - It copies to w what the holder in another process writes: Head, Grow,
//     bytes, End. Where that holder's verdict is Private it returns ErrRelease,
//     for then not even the leader here may see the body.
//   - It calls fill(ctx, w) without a lease, when the engine is away.
//
// It may wait before any of them, MaxLead being the bound; it may fall from
// the second to the others as long as w has had no Head. After that a fill can
// only run apart, in a flight of a second group without a Locker, whose reader
// Lead copies from once it has found the same bytes. Whatever Lead starts has
// ended when it returns. The fill it is given returns its panics as errors.
//
// An election calls Lead again, with another reader's fill and a new Writer.
// Lead is called by many goroutines at once, for one key by one at a time
// while the key's flight is in the table.
type Locker[H any] interface {
	Lead(ctx context.Context, key string, w *Writer[H], fill Fill[H]) error
}
